// A tile of 16 weight rows times rows of activations. Included once per instruction set.
//
// Each output is the same sequence of operations whatever the number of activation rows: per block of 32 columns two
// exact integer dots of 16, each scaled by its activations' scale and added by a fused multiply-add with d, and for
// formats with a minimum one more with the scaled sum.
namespace vortex::VORTEX_ISA {

// One block of LANES weight rows, ready to be met by activations.
struct Block {
  VB code[8];  // columns 4j..4j+3
  V d, m;
  V first, second;  // instead of d: of columns 0-15 and 16-31
};

template <int BIT, int J>
VORTEX_INLINE VB plane_bit(VB plane) {  // bit J of every byte, moved to bit BIT
  if constexpr (J < BIT) return band(bshl<BIT - J>(plane), 1 << BIT);
  else if constexpr (J == BIT) return band(plane, 1 << BIT);
  else return band(bshr<J - BIT>(plane), 1 << BIT);
}

template <int BIT>
VORTEX_INLINE void add_plane(VB* code, VB plane) {
  code[0] = bor(code[0], plane_bit<BIT, 0>(plane));
  code[1] = bor(code[1], plane_bit<BIT, 1>(plane));
  code[2] = bor(code[2], plane_bit<BIT, 2>(plane));
  code[3] = bor(code[3], plane_bit<BIT, 3>(plane));
  code[4] = bor(code[4], plane_bit<BIT, 4>(plane));
  code[5] = bor(code[5], plane_bit<BIT, 5>(plane));
  code[6] = bor(code[6], plane_bit<BIT, 6>(plane));
  code[7] = bor(code[7], plane_bit<BIT, 7>(plane));
}

// What a nibble of MXFP4 stands for, moved by its layout's offset of 16: unsigned and below 64, as `dot` wants it.
alignas(16) constexpr uint8_t MXFP4_CODES[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

// 2^(exponent - 128), in two factors since the smallest results have no normal form.
VORTEX_INLINE V power_of_two(const uint8_t* exponent) {
  const V wanted = vsub(vuint8(exponent), vset(128)), normal = vmax(wanted, vset(-126));
  return vmul(vpow2(normal), vpow2(vsub(wanted, normal)));
}

template <Layout L>
VORTEX_INLINE void unpack(const uint8_t* header, const uint8_t* p, int lane, Block& k) {
  if constexpr (L.codes_bytes == 512) {
    for (int j = 0; j < 8; j++) k.code[j] = bsigned(bload(p + 64 * j + 4 * lane));
  } else {
    for (int j = 0; j < 4; j++) {
      const VB v = bload(p + 64 * j + 4 * lane);
      k.code[j] = band(v, 15);
      k.code[j + 4] = band(bshr<4>(v), 15);
    }
    if constexpr (L.scales == Scales::Exponent)
      for (int j = 0; j < 8; j++) k.code[j] = blookup(MXFP4_CODES, k.code[j]);
    if constexpr (L.planes > 0) add_plane<4>(k.code, bload(p + 256 + 4 * lane));
    if constexpr (L.planes > 1) add_plane<5>(k.code, bload(p + 320 + 4 * lane));
  }
  const uint8_t* scales = p + L.scales_at();
  if constexpr (L.scales == Scales::SuperMin) {
    k.d = vmul(vhalf((const uint16_t*)header + lane), vuint8(scales + lane));
    k.m = vsub(vset(0), vmul(vhalf((const uint16_t*)(header + 32) + lane), vuint8(scales + 16 + lane)));
  } else if constexpr (L.scales == Scales::SuperSigned) {
    const V d = vhalf((const uint16_t*)header + lane);
    k.first = vmul(d, vint8((const int8_t*)scales + lane));
    k.second = vmul(d, vint8((const int8_t*)scales + 16 + lane));
  } else if constexpr (L.scales == Scales::Exponent) {
    k.d = power_of_two(scales + lane);
  } else {
    k.d = vhalf((const uint16_t*)scales + lane);
    if constexpr (L.scales == Scales::HalfMin) k.m = vhalf((const uint16_t*)(scales + 32) + lane);
  }
}

// Where the dot with columns 0-15 (half 0) or 16-31 begins, so that codes need not be moved by their offset: at the
// magic bits, less offset * sum of q.
template <Layout L>
VORTEX_INLINE VI start(const QuantizedBlock& x, int half) {
  if constexpr (L.codes_bytes == 512) return signed_start(x.begin128 + half);
  else if constexpr (L.offset == 8) return iset(x.begin8[half]);
  else if constexpr (L.offset == 16) return iadd(ishl<1>(iset(x.begin8[half])), iset(-MAGIC_BITS));
  else if constexpr (L.offset == 32) return iadd(ishl<2>(iset(x.begin8[half])), iset((int32_t)(-3u * (uint32_t)MAGIC_BITS)));
  else return iset(MAGIC_BITS);
}

template <Layout L>
VORTEX_INLINE V meet(V acc, const Block& k, const QuantizedBlock& x) {
  VI low = start<L>(x, 0), high = start<L>(x, 1);
  for (int j = 0; j < 4; j++) {
    if constexpr (L.codes_bytes == 512) {
      low = dot_signed(low, k.code[j], x.q + 4 * j);
      high = dot_signed(high, k.code[j + 4], x.q + 16 + 4 * j);
    } else {
      low = dot(low, k.code[j], x.q + 4 * j);
      high = dot(high, k.code[j + 4], x.q + 16 + 4 * j);
    }
  }
  const V first = vfma(vbits(low), vset(x.scale[0]), vset(x.unmagic[0]));
  const V second = vfma(vbits(high), vset(x.scale[1]), vset(x.unmagic[1]));
  if constexpr (L.scales == Scales::SuperSigned) return vfma(second, k.second, vfma(first, k.first, acc));
  acc = vfma(second, k.d, vfma(first, k.d, acc));
  if constexpr (has_minimum(L)) acc = vfma(k.m, vset(x.scaled_sum), acc);
  return acc;
}

// y[r][0..15] for R rows of activations.
template <Layout L, int R>
VORTEX_INLINE void product_rows(const uint8_t* tile, const Activations& a, int64_t row, float* y, int64_t y_stride, int valid) {
  const int64_t blocks = a.columns / BLOCK;
  const QuantizedBlock* x = a.blocks + row * blocks;
  float out[R][TILE];
  for (int lane = 0; lane < TILE; lane += LANES) {
    V acc[R];
    for (int r = 0; r < R; r++) acc[r] = vset(0);
    const uint8_t* p = tile;
    for (int64_t b = 0; b < blocks;) {
      const uint8_t* header = p;
      p += L.header_bytes;
      for (int i = 0; i < L.blocks; i++, b++, p += L.block_bytes) {
        for (int line = 0; line < L.block_bytes; line += 64) __builtin_prefetch(p + 4 * L.block_bytes + line);
        Block k;
        unpack<L>(header, p, lane, k);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) acc[r] = meet<L>(acc[r], k, x[r * blocks + b]);
      }
    }
    for (int r = 0; r < R; r++) vstore(out[r] + lane, acc[r]);
  }
  for (int r = 0; r < R; r++) memcpy(y + (row + r) * y_stride, out[r], (size_t)valid * 4);
}

template <Layout L>
void product_tile(const uint8_t* tile, const Activations& a, int64_t row, int64_t end, float* y, int64_t y_stride, int valid) {
  if constexpr (MAX_ROWS >= 4)
    for (; row + 4 <= end; row += 4) product_rows<L, 4>(tile, a, row, y, y_stride, valid);
  if constexpr (MAX_ROWS >= 2)
    for (; row + 2 <= end; row += 2) product_rows<L, 2>(tile, a, row, y, y_stride, valid);
  for (; row < end; row++) product_rows<L, 1>(tile, a, row, y, y_stride, valid);
}

template <Format F>
VORTEX_INLINE W float_weights(const uint8_t* p) {
  if constexpr (F == Format::F32) return wload((const float*)p);
  else if constexpr (F == Format::F16) return welements((const uint16_t*)p);
  else {
    W r;
    for (int i = 0; i < PARTS; i++) r.v[i] = vbf16((const uint16_t*)p + i * LANES);
    return r;
  }
}

// Float weights meet float activations. Column c goes to sum c mod 4; the four are added in pairs.
template <Format F, int R>
VORTEX_INLINE void float_sums(const uint8_t* tile, const float* x, int64_t x_stride, int64_t columns, W* sums) {
  constexpr int STEP = float_bytes(F) * TILE;
  W acc[R][4];
  for (int r = 0; r < R; r++)
    for (int i = 0; i < 4; i++) acc[r][i] = wset(0);
  int64_t c = 0;
  for (; c + 4 <= columns; c += 4) {
    for (int i = 0; i < 4; i++) {
      __builtin_prefetch(tile + (c + i + 32) * STEP);
      const W w = float_weights<F>(tile + (c + i) * STEP);
      for (int r = 0; r < R; r++) acc[r][i] = wfma(w, wset(x[r * x_stride + c + i]), acc[r][i]);
    }
  }
  for (int i = 0; i < 3 && c < columns; c++, i++) {
    const W w = float_weights<F>(tile + c * STEP);
    for (int r = 0; r < R; r++) acc[r][i] = wfma(w, wset(x[r * x_stride + c]), acc[r][i]);
  }
  for (int r = 0; r < R; r++) sums[r] = wadd(wadd(acc[r][0], acc[r][1]), wadd(acc[r][2], acc[r][3]));
}

template <Format F, int R>
VORTEX_INLINE void float_rows(const uint8_t* tile, const Activations& a, int64_t row, float* y, int64_t y_stride, int valid) {
  W sums[R];
  float_sums<F, R>(tile, a.x + row * a.columns, a.columns, a.columns, sums);
  for (int r = 0; r < R; r++) {
    float out[TILE];
    wstore(out, sums[r]);
    memcpy(y + (row + r) * y_stride, out, (size_t)valid * 4);
  }
}

template <Format F>
void float_tile(const uint8_t* tile, const Activations& a, int64_t row, int64_t end, float* y, int64_t y_stride, int valid) {
  if constexpr (MAX_ROWS >= 8)
    for (; row + 6 <= end; row += 6) float_rows<F, 6>(tile, a, row, y, y_stride, valid);
  if constexpr (MAX_ROWS >= 4)
    for (; row + 4 <= end; row += 4) float_rows<F, 4>(tile, a, row, y, y_stride, valid);
  if constexpr (MAX_ROWS >= 4)  // one pass over the weights for the few rows of a draft
    for (; row + 3 <= end; row += 3) float_rows<F, 3>(tile, a, row, y, y_stride, valid);
  if constexpr (MAX_ROWS >= 2)
    for (; row + 2 <= end; row += 2) float_rows<F, 2>(tile, a, row, y, y_stride, valid);
  for (; row < end; row++) float_rows<F, 1>(tile, a, row, y, y_stride, valid);
}

static void product(Format format, const uint8_t* tile, const Activations& a, int64_t row, int64_t end, float* y,
                    int64_t y_stride, int valid) {
  switch (format) {
    case Format::F16: return float_tile<Format::F16>(tile, a, row, end, y, y_stride, valid);
    case Format::BF16: return float_tile<Format::BF16>(tile, a, row, end, y, y_stride, valid);
    case Format::F32: return float_tile<Format::F32>(tile, a, row, end, y, y_stride, valid);
#ifdef VORTEX_PANEL
    default: return;  // product_panel.h
#else
    case Format::Q4_0: return product_tile<Q4_0>(tile, a, row, end, y, y_stride, valid);
    case Format::Q4_1: return product_tile<Q4_1>(tile, a, row, end, y, y_stride, valid);
    case Format::Q5_0: return product_tile<Q5_0>(tile, a, row, end, y, y_stride, valid);
    case Format::Q5_1: return product_tile<Q5_1>(tile, a, row, end, y, y_stride, valid);
    case Format::Q8_0: return product_tile<Q8_0>(tile, a, row, end, y, y_stride, valid);
    case Format::Q4_K: return product_tile<Q4_K>(tile, a, row, end, y, y_stride, valid);
    case Format::Q5_K: return product_tile<Q5_K>(tile, a, row, end, y, y_stride, valid);
    case Format::Q6_K: return product_tile<Q6_K>(tile, a, row, end, y, y_stride, valid);
    case Format::MXFP4: return product_tile<MXFP4>(tile, a, row, end, y, y_stride, valid);
#endif
  }
}

}  // namespace vortex::VORTEX_ISA
