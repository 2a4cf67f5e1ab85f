// The kernels on AVX-512 with VNNI.
#define VORTEX_ISA avx512
#define VORTEX_MASKS
#include "simd_avx512.h"
#include "table.h"
