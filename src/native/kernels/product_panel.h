// Products by panels: codes of a few tiles are unpacked once into a core's cache, then met by all rows of activations.
// Included once per instruction set, after product_tile.h, whose order of operations it keeps: the same bits.
//
// A panel is VECTORS vectors of weight rows (whole tiles), PANEL_BLOCKS blocks of columns at a time. Each loaded word of
// activations meets all vectors, each loaded vector of codes up to PANEL_ROWS rows. Several panels take turns, so that
// the memory behind each is fetched long before it is needed: one row of activations gains as well.
namespace vortex::VORTEX_ISA {

constexpr int PANEL_BLOCKS = 4;  // what is unpacked at once stays in the first-level cache
constexpr int PANEL_TILES = VECTORS * LANES / TILE;
static_assert(VECTORS * LANES == PANEL_TILES * TILE && MAX_TILES_TOGETHER % PANEL_TILES == 0);

struct Panel {
  struct Column {
    VB code[VECTORS][8];
    V first[VECTORS], second[VECTORS], m[VECTORS];
  };
  Column blocks[PANEL_BLOCKS];
};

template <Layout L>
VORTEX_INLINE void fill(Panel& panel, const uint8_t* tiles, int64_t tile_bytes, int vectors, int64_t first_block, int num_blocks) {
  for (int v = 0; v < vectors; v++) {
    const int lane = v * LANES % TILE;
    const uint8_t* header = tiles + v * LANES / TILE * tile_bytes + first_block / L.blocks * L.group_bytes();
    const uint8_t* p = header + L.header_bytes + first_block % L.blocks * L.block_bytes;
    for (int b = 0; b < num_blocks; b++, p += L.block_bytes) {
      if (L.blocks == 1) header = p;
      Block k;
      unpack<L>(header, p, lane, k);
      Panel::Column& column = panel.blocks[b];
      for (int j = 0; j < 8; j++) column.code[v][j] = k.code[j];
      constexpr bool by_half = L.scales == Scales::SuperSigned;
      column.first[v] = by_half ? k.first : k.d;
      column.second[v] = by_half ? k.second : k.d;
      if constexpr (has_minimum(L)) column.m[v] = k.m;
    }
  }
}

// The part of the tiles that fills the panel next: fetched into the cache while this one is met by its first rows.
struct Ahead {
  const uint8_t* tiles;
  int64_t tile_bytes;
  int block_bytes;

  VORTEX_INLINE void fetch(int vector, int block) const {
    if (!tiles || vector * LANES % TILE) return;
    const uint8_t* p = tiles + vector * LANES / TILE * tile_bytes + block * block_bytes;
    for (int line = 0; line < block_bytes; line += 64) __builtin_prefetch(p + line);
  }
};

// T vectors of the panel times R rows; acc: [row][VECTORS][LANES], begun or to be continued.
template <Layout L, int T, int R>
VORTEX_INLINE void meet_panel(const Panel& panel, const QuantizedBlock* x, int64_t stride, int num_blocks,
                              const Ahead& ahead, float* acc) {
  V sum[T][R];
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) sum[t][r] = vload(acc + (r * VECTORS + t) * LANES);
  for (int b = 0; b < num_blocks; b++, x++) {
    const Panel::Column& column = panel.blocks[b];
    for (int t = 0; t < T; t++) ahead.fetch(t, b);
    for (int half = 0; half < 2; half++) {
      VI dots[T][R];
      for (int r = 0; r < R; r++) {
        const VI begin = start<L>(x[r * stride], half);
        for (int t = 0; t < T; t++) dots[t][r] = begin;
      }
      for (int j = 0; j < 4; j++)
        for (int r = 0; r < R; r++) {
          const VI q = qload(x[r * stride].q + 16 * half + 4 * j);
          for (int t = 0; t < T; t++) dots[t][r] = qdot<L.codes_bytes == 512>(dots[t][r], column.code[t][4 * half + j], q);
        }
      for (int r = 0; r < R; r++) {
        const V scale = vset(x[r * stride].scale[half]), unmagic = vset(x[r * stride].unmagic[half]);
        for (int t = 0; t < T; t++)
          sum[t][r] = vfma(vfma(vbits(dots[t][r]), scale, unmagic), half ? column.second[t] : column.first[t], sum[t][r]);
      }
    }
    if constexpr (has_minimum(L))
      for (int r = 0; r < R; r++) {
        const V scaled_sum = vset(x[r * stride].scaled_sum);
        for (int t = 0; t < T; t++) sum[t][r] = vfma(column.m[t], scaled_sum, sum[t][r]);
      }
  }
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) vstore(acc + (r * VECTORS + t) * LANES, sum[t][r]);
}

// All rows, in groups of six, four, two and one, as registers allow; a last tile that is alone goes row by row.
template <Layout L>
void meet_all(const Panel& panel, int vectors, const QuantizedBlock* x, int64_t stride, int64_t rows, int num_blocks, Ahead ahead,
              float* acc) {
  for (int64_t r = 0; r < rows; ahead.tiles = nullptr) {
    const int64_t left = rows - r;
    const QuantizedBlock* q = x + r * stride;
    float* sums = acc + r * VECTORS * LANES;
    if (vectors < VECTORS) {
      meet_panel<L, TILE / LANES, 1>(panel, q, stride, num_blocks, ahead, sums), r++;
      continue;
    }
    if constexpr (PANEL_ROWS >= 6)
      if (left >= 6 && left != 8) {
        meet_panel<L, VECTORS, 6>(panel, q, stride, num_blocks, ahead, sums), r += 6;
        continue;
      }
    if constexpr (PANEL_ROWS >= 4)
      if (left >= 4) {
        meet_panel<L, VECTORS, 4>(panel, q, stride, num_blocks, ahead, sums), r += 4;
        continue;
      }
    if (left >= 2) meet_panel<L, VECTORS, 2>(panel, q, stride, num_blocks, ahead, sums), r += 2;
    else meet_panel<L, VECTORS, 1>(panel, q, stride, num_blocks, ahead, sums), r++;
  }
}

// y[row..end][tiles]: `count` tiles, the last with `valid` rows. Columns go by outside, tiles inside: the activations of
// a few blocks stay in the second-level cache while all tiles meet them.
template <Layout L>
void product_panel(const uint8_t* tiles, int64_t tile_bytes, int count, const Activations& a, int64_t row, int64_t end, float* y,
                   int64_t y_stride, int valid) {
  constexpr int PANELS = MAX_TILES_TOGETHER / PANEL_TILES, WIDTH = PANEL_TILES * TILE;
  static thread_local Panel panel;
  static thread_local float acc[PANELS][PANEL_MAX_ROWS][WIDTH];
  const int64_t blocks = a.columns / BLOCK, rows = end - row;
  const int panels = (count + PANEL_TILES - 1) / PANEL_TILES;
  const QuantizedBlock* x = a.blocks + row * blocks;
  for (int p = 0; p < panels; p++) memset(acc[p], 0, sizeof acc[p][0] * (size_t)rows);
  for (int64_t b = 0; b < blocks; b += PANEL_BLOCKS) {
    const int num_blocks = (int)(blocks - b < PANEL_BLOCKS ? blocks - b : PANEL_BLOCKS);
    for (int p = 0; p < panels; p++) {
      const uint8_t* first = tiles + p * PANEL_TILES * tile_bytes;
      const int vectors = count - p * PANEL_TILES < PANEL_TILES ? TILE / LANES : VECTORS;
      fill<L>(panel, first, tile_bytes, vectors, b, num_blocks);
      const bool last = b + PANEL_BLOCKS >= blocks;
      const Ahead ahead = {last ? nullptr : first + (b + PANEL_BLOCKS) * L.group_bytes() / L.blocks, tile_bytes, L.group_bytes() / L.blocks};
      meet_all<L>(panel, vectors, x + b, blocks, rows, num_blocks, ahead, acc[p][0]);
    }
  }
  for (int p = 0; p < panels; p++) {
    const int width = p + 1 < panels ? WIDTH : (count - p * PANEL_TILES - 1) * TILE + valid;
    for (int64_t r = 0; r < rows; r++) memcpy(y + (row + r) * y_stride + p * WIDTH, acc[p][r], (size_t)width * 4);
  }
}

static void panel(Format format, const uint8_t* tiles, int64_t tile_bytes, int count, const Activations& a, int64_t row,
                  int64_t end, float* y, int64_t y_stride, int valid) {
  const auto go = [&](auto f) { f(tiles, tile_bytes, count, a, row, end, y, y_stride, valid); };
  switch (format) {
    case Format::Q4_0: return go(product_panel<Q4_0>);
    case Format::Q4_1: return go(product_panel<Q4_1>);
    case Format::Q5_0: return go(product_panel<Q5_0>);
    case Format::Q5_1: return go(product_panel<Q5_1>);
    case Format::Q8_0: return go(product_panel<Q8_0>);
    case Format::Q4_K: return go(product_panel<Q4_K>);
    case Format::Q5_K: return go(product_panel<Q5_K>);
    case Format::Q6_K: return go(product_panel<Q6_K>);
    case Format::MXFP4: return go(product_panel<MXFP4>);
    case Format::F16:
    case Format::BF16:
    case Format::F32: return;  // floats go tile by tile
  }
}

}  // namespace vortex::VORTEX_ISA
