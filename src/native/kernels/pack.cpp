// GGUF blocks to tiles and back. Runs once per model, or per tile where a product is asked straight on GGUF's rows.
// Block layouts follow ggml's ggml-common.h.
#include <cstring>

#include "kernels/format.h"
#include "isa/half.h"

namespace vortex {
namespace {

struct Codes {
  uint8_t code[BLOCK];
};

uint16_t read16(const uint8_t* p) { return (uint16_t)(p[0] | p[1] << 8); }

void nibbles16(const uint8_t* q, Codes& out) {  // low nibbles are columns 0-15, high ones 16-31
  for (int i = 0; i < 16; i++) {
    out.code[i] = q[i] & 15;
    out.code[16 + i] = q[i] >> 4;
  }
}

void fifth_bits(const uint8_t* bits, Codes& out) {
  for (int i = 0; i < BLOCK; i++) out.code[i] |= (uint8_t)((bits[i / 8] >> (i % 8) & 1) << 4);
}

// Six-bit scale and minimum of sub-block `i` out of 12 bytes.
void k_scale(const uint8_t* s, int i, uint8_t& scale, uint8_t& minimum) {
  if (i < 4) {
    scale = s[i] & 63;
    minimum = s[i + 4] & 63;
  } else {
    scale = (uint8_t)((s[i + 4] & 15) | (s[i - 4] >> 6) << 4);
    minimum = (uint8_t)((s[i + 4] >> 4) | (s[i] >> 6) << 4);
  }
}

void q6_codes(const uint8_t* block, int i, Codes& out) {  // ql 128, qh 64: halves of 128 columns, quarters of 32
  const uint8_t *low = block + 64 * (i / 4) + 32 * (i % 2), *high = block + 128 + 32 * (i / 4);
  const int quarter = i % 4, nibble = quarter >= 2 ? 4 : 0;
  for (int c = 0; c < BLOCK; c++)
    out.code[c] = (uint8_t)((low[c] >> nibble & 15) | (high[c] >> (2 * quarter) & 3) << 4);
}

// Codes of block `i` of a GGUF block (or super-block).
void read_codes(Format format, const uint8_t* block, int i, Codes& out) {
  switch (format) {
    case Format::Q4_0: nibbles16(block + 2, out); break;
    case Format::Q4_1: nibbles16(block + 4, out); break;
    case Format::Q5_0: nibbles16(block + 6, out); fifth_bits(block + 2, out); break;
    case Format::Q5_1: nibbles16(block + 8, out); fifth_bits(block + 4, out); break;
    case Format::Q8_0: memcpy(out.code, block + 2, BLOCK); break;
    case Format::Q6_K: q6_codes(block, i, out); break;
    case Format::MXFP4: nibbles16(block + 1, out); break;
    default: {  // Q4_K, Q5_K: 64 columns share 32 bytes
      const uint8_t* q = block + (format == Format::Q5_K ? 48 : 16) + 32 * (i / 2);
      for (int c = 0; c < BLOCK; c++) out.code[c] = i % 2 ? q[c] >> 4 : q[c] & 15;
      if (format == Format::Q5_K)
        for (int c = 0; c < BLOCK; c++) out.code[c] |= (uint8_t)((block[16 + c] >> i & 1) << 4);
    }
  }
}

void write_codes(const Layout& l, const Codes& in, int row, uint8_t* block) {
  if (l.codes_bytes == 512) {
    for (int j = 0; j < 8; j++) memcpy(block + 64 * j + 4 * row, in.code + 4 * j, 4);
    return;
  }
  for (int j = 0; j < 4; j++)
    for (int k = 0; k < 4; k++)
      block[64 * j + 4 * row + k] = (uint8_t)((in.code[4 * j + k] & 15) | in.code[16 + 4 * j + k] << 4);
  for (int plane = 0; plane < l.planes; plane++)
    for (int k = 0; k < 4; k++) {
      int bits = 0;
      for (int j = 0; j < 8; j++) bits |= (in.code[4 * j + k] >> (4 + plane) & 1) << j;
      block[l.codes_bytes + 64 * plane + 4 * row + k] = (uint8_t)bits;
    }
}

void write_scales(Format format, const Layout& l, const uint8_t* gguf, int i, int row, uint8_t* block) {
  uint8_t* scales = block + l.scales_at();
  switch (l.scales) {
    case Scales::HalfMin: memcpy(scales + 32 + 2 * row, gguf + 2, 2); [[fallthrough]];
    case Scales::Half: memcpy(scales + 2 * row, gguf, 2); break;
    case Scales::SuperMin: k_scale(gguf + 4, i, scales[row], scales[16 + row]); break;
    case Scales::SuperSigned:
      scales[row] = gguf[192 + 2 * i];
      scales[16 + row] = gguf[193 + 2 * i];
      break;
    case Scales::Exponent: scales[row] = gguf[0];
  }
  (void)format;
}

void write_header(const Layout& l, const uint8_t* gguf, int row, uint8_t* header) {
  if (l.scales == Scales::SuperMin) {
    memcpy(header + 2 * row, gguf, 2);
    memcpy(header + 32 + 2 * row, gguf + 2, 2);
  } else if (l.scales == Scales::SuperSigned) {
    memcpy(header + 2 * row, gguf + 208, 2);
  }
}

}  // namespace

void pack_tile(Format format, const uint8_t* gguf, int rows, int64_t columns, uint8_t* tile) {
  if (rows < TILE) memset(tile, 0, (size_t)tile_bytes(format, columns));
  const int64_t row_bytes = gguf_row_bytes(format, columns);
  if (is_float(format)) {
    const int size = float_bytes(format);
    for (int row = 0; row < rows; row++)
      for (int64_t c = 0; c < columns; c++)
        memcpy(tile + (c * TILE + row) * size, gguf + row * row_bytes + c * size, (size_t)size);
    return;
  }
  const Layout& l = layout_of(format);
  const int64_t groups = columns / l.gguf_columns;
  for (int64_t g = 0; g < groups; g++)
    for (int row = 0; row < rows; row++) {
      const uint8_t* source = gguf + row * row_bytes + g * l.gguf_bytes;
      uint8_t* group = tile + g * l.group_bytes();
      write_header(l, source, row, group);
      for (int i = 0; i < l.blocks; i++) {
        uint8_t* block = group + l.header_bytes + i * l.block_bytes;
        Codes codes;
        read_codes(format, source, i, codes);
        write_codes(l, codes, row, block);
        write_scales(format, l, source, i, row, block);
      }
    }
}

namespace {

// 2^(exponent - 128); the two smallest have no normal form.
float power_of_two(uint8_t exponent) {
  return bits_to_float(exponent < 2 ? 0x00200000u << exponent : (uint32_t)(exponent - 1) << 23);
}

int code_at(const Layout& l, const uint8_t* block, int row, int column) {
  const int j = column / 4, k = column % 4;
  if (l.codes_bytes == 512) return (int8_t)block[64 * j + 4 * row + k];
  const uint8_t byte = block[64 * (j % 4) + 4 * row + k];
  int code = j < 4 ? byte & 15 : byte >> 4;
  if (l.scales == Scales::Exponent) return MXFP4_VALUES[code];
  for (int plane = 0; plane < l.planes; plane++)
    code |= (block[l.codes_bytes + 64 * plane + 4 * row + k] >> j & 1) << (4 + plane);
  return code - l.offset;
}

void unpack_block(const Layout& l, const uint8_t* header, const uint8_t* block, int row, float* out) {
  const uint8_t* scales = block + l.scales_at();
  float scale[2], minimum = 0;
  if (l.scales == Scales::Half || l.scales == Scales::HalfMin) {
    scale[0] = scale[1] = half_to_float(read16(scales + 2 * row));
    if (l.scales == Scales::HalfMin) minimum = half_to_float(read16(scales + 32 + 2 * row));
  } else if (l.scales == Scales::SuperMin) {
    scale[0] = scale[1] = half_to_float(read16(header + 2 * row)) * scales[row];
    minimum = -(half_to_float(read16(header + 32 + 2 * row)) * scales[16 + row]);
  } else if (l.scales == Scales::Exponent) {
    scale[0] = scale[1] = power_of_two(scales[row]);
  } else {
    for (int half = 0; half < 2; half++)
      scale[half] = half_to_float(read16(header + 2 * row)) * (int8_t)scales[16 * half + row];
  }
  for (int c = 0; c < BLOCK; c++) out[c] = scale[c / 16] * (float)code_at(l, block, row, c) + minimum;
}

}  // namespace

void unpack_row(Format format, const uint8_t* tile, int row, int64_t columns, float* out) {
  if (is_float(format)) {
    for (int64_t c = 0; c < columns; c++) {
      const uint8_t* p = tile + (c * TILE + row) * float_bytes(format);
      if (format == Format::F32) memcpy(out + c, p, 4);
      else out[c] = format == Format::F16 ? half_to_float(read16(p)) : bits_to_float((uint32_t)read16(p) << 16);
    }
    return;
  }
  const Layout& l = layout_of(format);
  for (int64_t b = 0; b < columns / BLOCK; b++) {
    const uint8_t* header = tile + b / l.blocks * l.group_bytes();
    unpack_block(l, header, header + l.header_bytes + b % l.blocks * l.block_bytes, row, out + b * BLOCK);
  }
}

}  // namespace vortex
