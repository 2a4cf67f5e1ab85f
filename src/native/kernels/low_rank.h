// The way out of an adapter: what came of its narrow middle is multiplied by a tile and added. Included once per
// instruction set. Sums are taken as those of float products, so a row's bits are its own affair.
namespace vortex::VORTEX_ISA {

template <Format F, int R>
VORTEX_INLINE void low_rank_rows(const uint8_t* tile, const float* t, int64_t rank, float scale, float* y, int64_t y_stride,
                                 int valid) {
  W sums[R];
  float_sums<F, R>(tile, t, rank, rank, sums);
  const W factor = wset(scale);
  for (int r = 0; r < R; r++) {
    if (valid == TILE) {
      wstore(y + r * y_stride, wfma(sums[r], factor, wload(y + r * y_stride)));
      continue;
    }
    float last[TILE] = {};
    memcpy(last, y + r * y_stride, (size_t)valid * 4);
    wstore(last, wfma(sums[r], factor, wload(last)));
    memcpy(y + r * y_stride, last, (size_t)valid * 4);
  }
}

template <Format F>
VORTEX_INLINE void low_rank_tile(const uint8_t* tile, const float* t, int64_t rank, float scale, int64_t rows, float* y,
                                 int64_t y_stride, int valid) {
  int64_t r = 0;
  if constexpr (MAX_ROWS >= 8)
    for (; r + 6 <= rows; r += 6) low_rank_rows<F, 6>(tile, t + r * rank, rank, scale, y + r * y_stride, y_stride, valid);
  if constexpr (MAX_ROWS >= 4)
    for (; r + 4 <= rows; r += 4) low_rank_rows<F, 4>(tile, t + r * rank, rank, scale, y + r * y_stride, y_stride, valid);
  if constexpr (MAX_ROWS >= 2)
    for (; r + 2 <= rows; r += 2) low_rank_rows<F, 2>(tile, t + r * rank, rank, scale, y + r * y_stride, y_stride, valid);
  for (; r < rows; r++) low_rank_rows<F, 1>(tile, t + r * rank, rank, scale, y + r * y_stride, y_stride, valid);
}

// `count` tiles, one behind the other.
template <Format F>
VORTEX_INLINE void low_rank_tiles(const uint8_t* tiles, int64_t count, const float* t, int64_t rank, float scale, int64_t rows,
                                  float* y, int64_t y_stride, int valid) {
  for (int64_t i = 0; i < count; i++)
    low_rank_tile<F>(tiles + i * rank * float_bytes(F) * TILE, t, rank, scale, rows, y + i * TILE, y_stride, i + 1 < count ? TILE : valid);
}

// The usual rank, of which the compiler then knows that it is 16.
template <Format F>
void low_rank_any(const uint8_t* tiles, int64_t count, const float* t, int64_t rank, float scale, int64_t rows, float* y,
                  int64_t y_stride, int valid) {
  if (rank == 16) return low_rank_tiles<F>(tiles, count, t, 16, scale, rows, y, y_stride, valid);
  low_rank_tiles<F>(tiles, count, t, rank, scale, rows, y, y_stride, valid);
}

static void add_low_rank(Format format, const uint8_t* tiles, int64_t count, const float* t, int64_t rank, float scale, int64_t rows,
                         float* y, int64_t y_stride, int valid) {
  switch (format) {
    case Format::F16: return low_rank_any<Format::F16>(tiles, count, t, rank, scale, rows, y, y_stride, valid);
    case Format::BF16: return low_rank_any<Format::BF16>(tiles, count, t, rank, scale, rows, y, y_stride, valid);
    default: return low_rank_any<Format::F32>(tiles, count, t, rank, scale, rows, y, y_stride, valid);
  }
}

}  // namespace vortex::VORTEX_ISA
