// The kernels on AVX-512 with VNNI.
#define VORTEX_ISA avx512
#define VORTEX_MASKS
#include "isa/simd_avx512.h"
#include "isa/table.h"
