// LAVA over the rows of several sequences: a token reads what earlier chunks wrote; a whole chunk writes its best pairs.
// The readable form is vblocks/step/lava.py with vblocks/step/lava_slots.py.
#pragma once
#include <vector>

#include "steps/core_layer.h"

namespace vortex {

class LavaRows {
 public:
  LavaRows(const CoreLayer& layer, CoreWorkspace& workspace, int64_t rows, std::vector<CoreSpan>& spans, const float* projected);
  // Every row's read, without its gate, and all spans' states after. All members of the team call it.
  void run(Team& team);
  // The gate, and the rounding for the product that follows.
  void finish_row(int64_t r);

 private:
  // Rows of one span up to the end of a chunk: they see the same slots, so they may read side by side.
  struct Part {
    int64_t span, first_row, num_rows, first_share;
  };

  void mix(int64_t r);
  void read(const Part& part, int64_t place, int64_t head);
  void settle(const Part& part);
  void write_chunk(LavaState& s);
  void write(LavaState& s, const float* key, const float* value, float gate, float chunk);
  int64_t closest(const LavaState& s, const float* key, float& cosine) const;
  int64_t least_worth(const LavaState& s, float chunk) const;
  float* row(int64_t r);
  float* shares(const Part& part, int64_t place, int64_t head);

  const CoreLayer& layer_;
  const Lava& lava_;
  CoreWorkspace& w_;
  const int64_t rows_;
  std::vector<CoreSpan>& spans_;
  const float* projected_;
  const int64_t share_stride_;
  std::vector<std::vector<Part>> rounds_;
};

}  // namespace vortex
