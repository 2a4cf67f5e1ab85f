// The kernels on AVX-512 with VNNI.
#define VORTEX_ISA avx512
#include "simd_avx512.h"
#include "table.h"
