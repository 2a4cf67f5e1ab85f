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
    .name = VORTEX_STRING(VORTEX_ISA),
    .quantize = VORTEX_ISA::quantize,
    .product = VORTEX_ISA::product,
    .panel = VORTEX_PANEL_PRODUCT,
    .add_low_rank = VORTEX_ISA::add_low_rank,
    .rms_norm = VORTEX_ISA::rms_norm,
    .add = VORTEX_ISA::add,
    .scale = VORTEX_ISA::scale,
    .add_scaled = VORTEX_ISA::add_scaled,
    .gate = VORTEX_ISA::gate,
    .rotate = VORTEX_ISA::rotate,
    .write_cache = VORTEX_ISA::write_cache,
    .attend = VORTEX_ISA::attend,
    .merge = VORTEX_ISA::merge,
    .finish = VORTEX_ISA::finish,
    .convolve = VORTEX_ISA::convolve,
    .silu = VORTEX_ISA::silu,
    .unit = VORTEX_ISA::unit,
    .dot = VORTEX_ISA::dot,
    .softmax = VORTEX_ISA::softmax,
    .delta_token = VORTEX_ISA::delta_token,
    .read_slots = VORTEX_ISA::read_slots,
    .read = VORTEX_ISA::read,
    .dots = VORTEX_ISA::dots,
    .decode_bf16e3 = VORTEX_ISA::decode_bf16e3,
};
}  // namespace vortex
