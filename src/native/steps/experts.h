// The feed-forward of a mixture of experts: each expert meets the rows that were routed to it, all of them in one job.
#pragma once
#include <vector>

#include "kernels/kernels.h"
#include "kernels/multiply.h"

namespace vortex {

struct Expert {
  Matrix gate, up, down;
  GateKind kind;
};

// Rows of the batch that an expert sees, and its share in each.
struct RoutedRows {
  const Expert* expert;
  std::vector<int64_t> rows;
  std::vector<float> shares;
};

// What is reused from layer to layer and from sweep to sweep.
class ExpertWorkspace {
 public:
  // out[row] += share * expert(x[row]) for all of `routed`, in its order: calls that take experts one by one give the
  // same bits as one call with all. x, out: [rows][width].
  void run(const std::vector<RoutedRows>& routed, const float* x, int64_t width, float* out);

 private:
  Rows input_, gates_, fed_, output_;
};

}  // namespace vortex
