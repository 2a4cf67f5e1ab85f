// The kernels on neon.
#define VORTEX_ISA neon
#include "simd_neon.h"
#include "table.h"
