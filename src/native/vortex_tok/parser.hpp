// The cheapest way to write bytes as codes, in one forward pass over a trie: O(bytes x longest piece).
//
// Bytes come in chunks of any size; the codes do not depend on how they were cut. A prefix of the parse is final once
// every path that is still open goes through it. Where paths never meet (one byte repeated), the parse is cut at the
// first check after kMaxOpenBytes, so that memory stays bounded. reference.py does the same steps, readably.
#pragma once

#include "trie.hpp"

#include <memory>

namespace vortex_tok {

constexpr size_t kCheckEveryBytes = 4096;
constexpr size_t kMaxOpenBytes = 65536;

class Parser {
  public:
    // `excluded`: a code that must not be used (what would its own bytes cost without it?), or -1.
    Parser(std::shared_ptr<const Trie> trie, bool greedy, int32_t excluded = -1)
        : trie_(std::move(trie)), greedy_(greedy), excluded_(excluded) {
        best_.assign(1, 0);
        code_.assign(1, -1);
        length_.assign(1, 0);
    }

    // Reads `size` bytes; appends to `out` every code that is now final.
    void push(const uint8_t *data, size_t size, std::vector<int32_t> &out) {
        for (size_t at = 0; at < size; at += kCheckEveryBytes) {  // slices keep the open part small
            const size_t take = std::min(kCheckEveryBytes, size - at);
            open_.insert(open_.end(), data + at, data + at + take);
            advance(false, out);
        }
    }

    void finish(std::vector<int32_t> &out) {
        advance(true, out);
        if (!greedy_) commit(open_.size(), out);
        open_.clear();
        expanded_ = 0;
        next_check_ = 0;
        total_ = 0;
        best_.assign(1, 0);
        code_.assign(1, -1);
        length_.assign(1, 0);
    }

    // Cost of the cheapest path over the bytes given, all of them still open.
    uint64_t cost_of(const uint8_t *data, size_t size) {
        open_.assign(data, data + size);
        std::vector<int32_t> none;
        advance(true, none);
        return best_[size];
    }

  private:
    static constexpr uint64_t kUnreached = ~uint64_t{0};

    // Positions before this one see all bytes that a piece starting there could take.
    size_t limit(bool last) const {
        if (last) return open_.size();
        return open_.size() > trie_->longest() ? open_.size() - trie_->longest() : 0;
    }

    void advance(bool last, std::vector<int32_t> &out) {
        if (greedy_) return advance_greedy(last, out);
        grow(open_.size() + trie_->longest() + 1);
        while (expanded_ < limit(last)) {
            expand(expanded_++);
            if (++total_ % kCheckEveryBytes == 0 && expanded_ >= next_check_) check(out);
        }
    }

    void grow(size_t size) {
        if (best_.size() >= size) return;
        best_.resize(size, kUnreached);
        code_.resize(size, -1);
        length_.resize(size, 0);
    }

    void expand(size_t at) {
        const Trie &trie = *trie_;
        const uint64_t here = best_[at];
        const size_t end = open_.size();
        uint32_t node = Trie::kRoot;
        for (size_t i = at; i < end;) {
            node = trie.step(node, open_[i]);
            if (node == 0) break;
            ++i;
            const Node &entry = trie[node];
            if (entry.code < 0 || entry.code == excluded_) continue;
            const uint64_t cost = here + entry.cost;
            if (cost < best_[i]) {  // strict: of equal paths, the one whose last piece is longest
                best_[i] = cost;
                code_[i] = entry.code;
                length_[i] = static_cast<uint16_t>(i - at);
            }
        }
    }

    void advance_greedy(bool last, std::vector<int32_t> &out) {
        const Trie &trie = *trie_;
        const size_t safe = limit(last);
        size_t at = 0;
        while (at < safe) {
            uint32_t node = Trie::kRoot;
            int32_t code = -1;
            size_t length = 0;
            for (size_t i = at; i < open_.size();) {
                node = trie.step(node, open_[i]);
                if (node == 0) break;
                ++i;
                if (trie[node].code >= 0) code = trie[node].code, length = i - at;
            }
            out.push_back(code);
            at += length;
        }
        open_.erase(open_.begin(), open_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    // Positions expanded_ .. expanded_ + longest - 1 are what open paths can still grow from. Where do they meet?
    void check(std::vector<int32_t> &out) {
        std::vector<size_t> fronts;
        const size_t stop = std::min(expanded_ + trie_->longest(), open_.size() + 1);
        for (size_t i = expanded_; i < stop; ++i)
            if (best_[i] != kUnreached) fronts.push_back(i);
        while (fronts.size() > 1) {
            const size_t before = fronts.back() - length_[fronts.back()];
            fronts.pop_back();
            const auto place = std::lower_bound(fronts.begin(), fronts.end(), before);
            if (place == fronts.end() || *place != before) fronts.insert(place, before);
        }
        next_check_ = 0;
        if (fronts.front() > 0) {
            commit(fronts.front(), out);
        } else if (expanded_ >= kMaxOpenBytes) {
            for (size_t i = expanded_ + 1; i < best_.size(); ++i) best_[i] = kUnreached;
            commit(expanded_, out);
        } else {
            next_check_ = 2 * expanded_;  // looking back costs as much as what is open: look twice as far apart
        }
    }

    // Emits the path to `at` and makes `at` the new origin.
    void commit(size_t at, std::vector<int32_t> &out) {
        const size_t from = out.size();
        for (size_t i = at; i > 0; i -= length_[i]) out.push_back(code_[i]);
        std::reverse(out.begin() + static_cast<std::ptrdiff_t>(from), out.end());
        const uint64_t origin = best_[at];
        const auto shift = static_cast<std::ptrdiff_t>(at);
        open_.erase(open_.begin(), open_.begin() + shift);
        best_.erase(best_.begin(), best_.begin() + shift);
        code_.erase(code_.begin(), code_.begin() + shift);
        length_.erase(length_.begin(), length_.begin() + shift);
        for (auto &cost : best_)
            if (cost != kUnreached) cost -= origin;
        best_[0] = 0;
        expanded_ = expanded_ > at ? expanded_ - at : 0;
        grow(open_.size() + trie_->longest() + 1);
    }

    std::shared_ptr<const Trie> trie_;
    bool greedy_;
    int32_t excluded_;
    std::vector<uint8_t> open_;    // bytes after the last final code
    std::vector<uint64_t> best_;   // cheapest cost to each position of open_
    std::vector<int32_t> code_;    // last code of that path
    std::vector<uint16_t> length_; // and its length in bytes
    size_t expanded_ = 0;          // positions whose pieces were tried
    size_t next_check_ = 0;        // no check before so many positions are open
    uint64_t total_ = 0;           // bytes expanded since the start: checks fall at fixed places
};

}  // namespace vortex_tok
