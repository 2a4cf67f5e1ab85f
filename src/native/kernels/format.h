// Weight formats, their GGUF blocks, and the tiles they are packed into.
//
// A tile is 16 weight rows, all columns. Along the columns it is a row of blocks of 32 columns; K-quants group eight
// of them under a header. One block of a tile, `codes` first:
//
//   nibbles  256 bytes: vector j (0..3) is 64 bytes; byte 4 * row + k holds column 4j + k in its low nibble and
//            column 16 + 4j + k in its high one, so one dword of activations meets four columns of 16 rows
//   bytes    512 bytes (Q8_0): vector j (0..7), byte 4 * row + k is column 4j + k, signed
//   planes   64 bytes each (fifth bit: 1 plane, fifth and sixth: 2): byte 4 * row + k, bit j belongs to column 4j + k
//   scales   per row, 16 of each: fp16 d | fp16 d, fp16 m | uint8 scale, uint8 min | int8 scales of columns 0-15, 16-31
//            | uint8 exponent (MXFP4: the scale is 2^(exponent - 128), nibbles are places in MXFP4_VALUES)
//
//   header of 8 blocks (K-quants): fp16 d and fp16 dmin of each row (Q4_K, Q5_K), fp16 d (Q6_K)
//
// Bytes per weight are GGUF's, but for Q4_K (+2.8%) and Q5_K (+2.3%), whose 6-bit scales become bytes.
// F16, BF16 and F32: [column][16 rows], any number of columns. Missing rows of the last tile are zero.
#pragma once
#include <cstdint>

namespace vortex {

enum class Format : int { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, MXFP4, F16, BF16, F32 };
constexpr int NUM_FORMATS = 12;
constexpr int TILE = 16;
constexpr int BLOCK = 32;

// Twice the values of a four-bit float with two bits of exponent and one of mantissa (OCP Microscaling Formats 1.0).
constexpr int8_t MXFP4_VALUES[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

enum class Scales { Half, HalfMin, SuperMin, SuperSigned, Exponent };

struct Layout {
  Scales scales;
  int offset;       // subtracted from every code
  int codes_bytes;  // 256 nibbles or 512 bytes
  int planes;
  int blocks;  // under one header
  int header_bytes;
  int block_bytes;  // of a tile
  int gguf_columns, gguf_bytes;

  constexpr int group_bytes() const { return header_bytes + blocks * block_bytes; }
  constexpr int scales_at() const { return codes_bytes + 64 * planes; }
};

constexpr Layout Q4_0 = {Scales::Half, 8, 256, 0, 1, 0, 288, 32, 18};
constexpr Layout Q4_1 = {Scales::HalfMin, 0, 256, 0, 1, 0, 320, 32, 20};
constexpr Layout Q5_0 = {Scales::Half, 16, 256, 1, 1, 0, 352, 32, 22};
constexpr Layout Q5_1 = {Scales::HalfMin, 0, 256, 1, 1, 0, 384, 32, 24};
constexpr Layout Q8_0 = {Scales::Half, 0, 512, 0, 1, 0, 544, 32, 34};
constexpr Layout Q4_K = {Scales::SuperMin, 0, 256, 0, 8, 64, 288, 256, 144};
constexpr Layout Q5_K = {Scales::SuperMin, 0, 256, 1, 8, 64, 352, 256, 176};
constexpr Layout Q6_K = {Scales::SuperSigned, 32, 256, 2, 8, 32, 416, 256, 210};
constexpr Layout MXFP4 = {Scales::Exponent, 16, 256, 0, 1, 0, 272, 32, 17};

constexpr bool has_minimum(const Layout& l) { return l.scales == Scales::HalfMin || l.scales == Scales::SuperMin; }
constexpr bool is_float(Format format) { return format >= Format::F16; }
constexpr int float_bytes(Format format) { return format == Format::F32 ? 4 : 2; }

constexpr const Layout& layout_of(Format format) {
  switch (format) {
    case Format::Q4_0: return Q4_0;
    case Format::Q4_1: return Q4_1;
    case Format::Q5_0: return Q5_0;
    case Format::Q5_1: return Q5_1;
    case Format::Q8_0: return Q8_0;
    case Format::Q4_K: return Q4_K;
    case Format::Q5_K: return Q5_K;
    case Format::MXFP4: return MXFP4;
    default: return Q6_K;
  }
}

inline int64_t gguf_row_bytes(Format format, int64_t columns) {
  if (is_float(format)) return columns * float_bytes(format);
  return columns / layout_of(format).gguf_columns * layout_of(format).gguf_bytes;
}

inline int64_t tile_bytes(Format format, int64_t columns) {
  if (is_float(format)) return columns * float_bytes(format) * TILE;
  return columns / (BLOCK * layout_of(format).blocks) * layout_of(format).group_bytes();
}

inline int64_t num_tiles(int64_t rows) { return (rows + TILE - 1) / TILE; }
inline int column_multiple(Format format) { return is_float(format) ? 1 : layout_of(format).gguf_columns; }

// GGUF rows (`rows` of them, at most 16) to one tile, and one row of a tile to floats.
void pack_tile(Format format, const uint8_t* gguf, int rows, int64_t columns, uint8_t* tile);
void unpack_row(Format format, const uint8_t* tile, int row, int64_t columns, float* out);

}  // namespace vortex
