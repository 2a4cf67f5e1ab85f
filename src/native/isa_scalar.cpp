// The kernels on scalar.
#define VORTEX_ISA scalar
#include "simd_scalar.h"
#include "table.h"
