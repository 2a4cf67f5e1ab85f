// The kernels in plain C++. Nothing is forced inline and no rows share a pass: this path is for correctness.
#define VORTEX_ISA scalar
#define VORTEX_INLINE inline
#include "isa/simd_scalar.h"
#include "isa/table.h"
