// The kernels on AVX2 with FMA and F16C.
#define VORTEX_ISA avx2
#include "isa/simd_avx2.h"
#include "isa/table.h"
