// Everything an instruction set compiles, in order, and its table. Included last by isa_*.cpp.
#include "isa/wide.h"
#include "kernels/rows.h"
#include "kernels/product_tile.h"
#ifdef VORTEX_PANEL
#include "kernels/product_panel.h"
#define VORTEX_PANEL_PRODUCT VORTEX_ISA::panel
#else
#define VORTEX_PANEL_PRODUCT nullptr
#endif
#include "kernels/low_rank.h"
#include "kernels/attention.h"
#include "kernels/mixing.h"
#include "kernels/delta_rule.h"
#include "kernels/slots.h"
#include "isa/peak.h"
#include "kernels/lossless.h"

#define VORTEX_STRING_(x) #x
#define VORTEX_STRING(x) VORTEX_STRING_(x)
#define VORTEX_TABLE_(isa) isa##_kernels
#define VORTEX_TABLE(isa) VORTEX_TABLE_(isa)

namespace vortex {
const Kernels VORTEX_TABLE(VORTEX_ISA) = {
    VORTEX_STRING(VORTEX_ISA), VORTEX_ISA::quantize, VORTEX_ISA::product, VORTEX_PANEL_PRODUCT, VORTEX_ISA::add_low_rank, VORTEX_ISA::rms_norm, VORTEX_ISA::add,
    VORTEX_ISA::scale, VORTEX_ISA::add_scaled, VORTEX_ISA::gate, VORTEX_ISA::rotate, VORTEX_ISA::write_cache, VORTEX_ISA::attend,
    VORTEX_ISA::merge, VORTEX_ISA::finish, VORTEX_ISA::convolve, VORTEX_ISA::silu, VORTEX_ISA::unit, VORTEX_ISA::dot,
    VORTEX_ISA::softmax, VORTEX_ISA::delta_token, VORTEX_ISA::read_slots, VORTEX_ISA::read, VORTEX_ISA::dots, VORTEX_ISA::decode_bf16e3,
};
}  // namespace vortex
