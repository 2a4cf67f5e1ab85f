// The kernels on avx2.
#define VORTEX_ISA avx2
#include "simd_avx2.h"
#include "table.h"
