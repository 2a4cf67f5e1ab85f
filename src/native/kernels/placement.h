// Keeps the threads of a team on CPUs of their own. A kernel may wake a worker on the CPU of the thread that woke it and
// leave both there, spinning for each other, for seconds, with the next CPU idle: a step then takes ten times as long.
// A worker that finds itself on a CPU of a member before it moves away, and may go anywhere again afterwards.
#pragma once
#include <atomic>
#include <chrono>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace vortex {

class Placement {
 public:
  explicit Placement(int size) : members_((size_t)size) {}

  // A member says that it runs. Called by itself, at the start of a job.
  void here(int index) {
#if defined(__linux__)
    const int cpu = sched_getcpu();
    members_[(size_t)index].cpu.store(cpu, std::memory_order_relaxed);
    for (int other = 0; other < index; other++)
      if (members_[(size_t)other].cpu.load(std::memory_order_relaxed) == cpu) return move(index);
#else
    (void)index;
#endif
  }

 private:
  struct alignas(64) Member {
    std::atomic<int> cpu{-1};
    std::chrono::steady_clock::time_point moved{};
  };

#if defined(__linux__)
  // Not often: where other programs want the CPUs, the kernel knows better.
  void move(int index) {
    constexpr auto SELDOM = std::chrono::milliseconds(10);
    Member& self = members_[(size_t)index];
    const auto now = std::chrono::steady_clock::now();
    if (now - self.moved < SELDOM) return;
    self.moved = now;
    cpu_set_t allowed;
    if (pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) || CPU_COUNT(&allowed) < (int)members_.size()) return;
    cpu_set_t free = allowed;
    for (int other = 0; other < index; other++) {
      const int cpu = members_[(size_t)other].cpu.load(std::memory_order_relaxed);
      if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(cpu, &free);
    }
    if (!CPU_COUNT(&free) || pthread_setaffinity_np(pthread_self(), sizeof free, &free)) return;
    pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
    self.cpu.store(sched_getcpu(), std::memory_order_relaxed);
  }
#endif

  std::vector<Member> members_;
};

}  // namespace vortex
