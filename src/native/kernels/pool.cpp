#include "kernels/pool.h"

#include <chrono>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vortex {
namespace {

// By the clock: a pause takes 13 ns on one CPU and 50 on another.
constexpr auto SPIN = std::chrono::microseconds(50);   // between the steps of a job, until others may run
constexpr auto AWAKE = std::chrono::microseconds(300);  // between jobs, until a worker sleeps

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// While `value` is `old`, at most that long. Whether it has changed.
template <class T>
bool spin(const std::atomic<T>& value, T old, std::chrono::microseconds at_most) {
  constexpr int PAUSES = 64;  // between two looks at the clock
  const auto until = std::chrono::steady_clock::now() + at_most;
  do {
    for (int i = 0; i < PAUSES; i++) {
      if (value.load(std::memory_order_acquire) != old) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

// Until `value` is no longer `old`: spin, then (more threads than cores) let others run.
template <class T>
void wait_busily(const std::atomic<T>& value, T old) {
  if (value.load(std::memory_order_acquire) != old || spin(value, old, SPIN)) return;
  while (value.load(std::memory_order_acquire) == old) std::this_thread::yield();
}

Pool* current = nullptr;
std::mutex* creation = new std::mutex;
int wanted_threads = 0;

#if defined(__unix__) || defined(__APPLE__)
void forget_after_fork() {  // the parent's workers do not exist here; its objects are left alone
  current = nullptr;
  creation = new std::mutex;
}
#endif

}  // namespace

void Team::barrier() {
  if (shared_.size == 1) return;
  const uint32_t phase = shared_.phase.load(std::memory_order_relaxed);
  if (shared_.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == shared_.size) {
    shared_.arrived.store(0, std::memory_order_relaxed);
    shared_.next.store(0, std::memory_order_relaxed);
    shared_.phase.store(phase + 1, std::memory_order_release);
  } else {
    wait_busily(shared_.phase, phase);
  }
}

Pool::Pool(int num_threads) : shared_(num_threads), placement_(num_threads) {
  for (int i = 1; i < num_threads; i++) threads_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stop_ = true;
  job_number_.fetch_add(1);
  job_number_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Pool::run(const std::function<void(Team&)>& job) {
  std::lock_guard lock(one_job_);
  Team team(shared_, 0);
  if (shared_.size > 1) {
    placement_.here(0);
    job_ = &job;
    running_.store(shared_.size - 1, std::memory_order_relaxed);
    job_number_.fetch_add(1, std::memory_order_release);
    job_number_.notify_all();
  }
  job(team);
  for (int left; (left = running_.load(std::memory_order_acquire)) != 0;) wait_busily(running_, left);
}

void Pool::work(int index) {
  Team team(shared_, index);
  for (uint32_t seen = 0;;) {
    spin(job_number_, seen, AWAKE);
    job_number_.wait(seen, std::memory_order_acquire);
    seen++;
    if (stop_) return;
    placement_.here(index);
    (*job_)(team);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

Pool& pool() {
  std::lock_guard lock(*creation);
  if (!current) {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, forget_after_fork);
    (void)registered;
#endif
    current = new Pool(wanted_threads ? wanted_threads : 1);
  }
  return *current;
}

int num_threads() { return wanted_threads; }

void set_num_threads(int num_threads) {
  std::lock_guard lock(*creation);
  wanted_threads = num_threads;
  if (current && current->size() != num_threads) {
    delete current;
    current = nullptr;
  }
}

}  // namespace vortex
