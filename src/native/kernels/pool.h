// A small pool of threads that run one job together. Workers spin for a moment between jobs, then sleep.
//
// A job is one function called by every member of the team; inside it, pieces of work are shared out by `for_each`,
// which ends with everyone waiting for everyone. What a piece computes must not depend on who runs it.
// A forked child starts with a fresh pool of its own (threads do not survive a fork).
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/placement.h"

namespace vortex {

struct Shared {  // between the members of a team
  explicit Shared(int size) : size(size) {}
  const int size;
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<uint32_t> phase{0};
};

class Team {
 public:
  Team(Shared& shared, int index) : index(index), shared_(shared) {}
  const int index;
  int size() const { return shared_.size; }
  void barrier();

  // f(first, end) over pieces of [0, n) until none is left.
  template <class F>
  void for_each(int64_t n, int64_t piece, F f) {
    if (shared_.size == 1) {
      if (n > 0) f((int64_t)0, n);
      return;
    }
    for (;;) {
      const int64_t first = shared_.next.fetch_add(piece, std::memory_order_relaxed);
      if (first >= n) break;
      f(first, first + piece < n ? first + piece : n);
    }
    barrier();
  }

 private:
  Shared& shared_;
};

class Pool {
 public:
  explicit Pool(int num_threads);
  ~Pool();
  int size() const { return shared_.size; }
  void run(const std::function<void(Team&)>& job);

 private:
  void work(int index);
  Shared shared_;
  Placement placement_;
  std::mutex one_job_;
  const std::function<void(Team&)>* job_ = nullptr;
  alignas(64) std::atomic<uint32_t> job_number_{0};
  alignas(64) std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

Pool& pool();
int num_threads();                      // as set; 0: not yet
void set_num_threads(int num_threads);  // waits for the running job

}  // namespace vortex
