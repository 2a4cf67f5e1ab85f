// What adapters add to a layer's products: y += scale * b (a x), each sequence with its own a and b.
//
// The way in (a x) rides in the job of the base products; the way out is added behind them, before anything reads y.
#pragma once
#include <vector>

#include "kernels/kernels.h"
#include "kernels/multiply.h"

namespace vortex {

// a: [rank][columns], b: [rows][rank], tiles of floats, no biases. Without rows: nothing is added.
struct LowRank {
  Matrix a, b;
  float scale = 0;
};

// One layer of an adapter, by the matrices that it changes.
struct LayerAdapter {
  LowRank q, k, v, out, gate, up, down;
};

// The products of one place in a layer, those of adapters among them. Used again from layer to layer.
class AdaptedProducts {
 public:
  void begin() {
    products_.clear();
    base_.clear();
    additions_.clear();
    num_inner_ = 0;
  }
  void add(const Product& base) { base_.push_back(base); }
  // The rows of `input`, which begin at y in the base product's result, get this part too.
  void add(const LowRank& part, const Activations& input, float* y, int64_t y_stride);
  void end();  // all were added
  // All members of the team call it; all see the sums afterwards.
  void run(Team& team) const;

 private:
  struct Addition {
    const LowRank* part;
    int64_t rows, first_inner;
    float* y;
    int64_t y_stride, pieces;
  };
  std::vector<Product> products_, base_;  // ways in come first: they are cut into few pieces, and nobody waits for them
  std::vector<Addition> additions_;
  std::vector<float> inner_;  // a x of every addition, [rows][rank]
  int64_t num_inner_ = 0, pieces_ = 0;
};

}  // namespace vortex
