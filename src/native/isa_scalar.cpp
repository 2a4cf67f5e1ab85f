// The kernels in plain C++. Nothing is forced inline and no rows share a pass: this path is for correctness.
#define VORTEX_ISA scalar
#define VORTEX_INLINE inline
#include "simd_scalar.h"
#include "table.h"
