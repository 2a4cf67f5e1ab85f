// The way out of an adapter: what came of its narrow middle is multiplied by a tile and added. Included once per
// instruction set. Sums are taken as those of float products, so a row's bits are its own affair.
namespace vortex::VORTEX_ISA {

template <Format F, int R>
VORTEX_INLINE void low_rank_rows(const uint8_t* tile, const float* t, int64_t t_stride, int64_t rank, float scale, float* y,
                                 int64_t y_stride, int valid) {
  W sums[R];
  float_sums<F, R>(tile, t, t_stride, rank, sums);
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
void low_rank_tile(const uint8_t* tile, const float* t, int64_t t_stride, int64_t rank, float scale, int64_t rows, float* y,
                   int64_t y_stride, int valid) {
  int64_t r = 0;
  if constexpr (MAX_ROWS >= 4)
    for (; r + 4 <= rows; r += 4) low_rank_rows<F, 4>(tile, t + r * t_stride, t_stride, rank, scale, y + r * y_stride, y_stride, valid);
  if constexpr (MAX_ROWS >= 2)
    for (; r + 2 <= rows; r += 2) low_rank_rows<F, 2>(tile, t + r * t_stride, t_stride, rank, scale, y + r * y_stride, y_stride, valid);
  for (; r < rows; r++) low_rank_rows<F, 1>(tile, t + r * t_stride, t_stride, rank, scale, y + r * y_stride, y_stride, valid);
}

static void add_low_rank(Format format, const uint8_t* tile, const float* t, int64_t t_stride, int64_t rank, float scale,
                         int64_t rows, float* y, int64_t y_stride, int valid) {
  switch (format) {
    case Format::F16: return low_rank_tile<Format::F16>(tile, t, t_stride, rank, scale, rows, y, y_stride, valid);
    case Format::BF16: return low_rank_tile<Format::BF16>(tile, t, t_stride, rank, scale, rows, y, y_stride, valid);
    default: return low_rank_tile<Format::F32>(tile, t, t_stride, rank, scale, rows, y, y_stride, valid);
  }
}

}  // namespace vortex::VORTEX_ISA
