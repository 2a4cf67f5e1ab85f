// Byte-pair merging over weighted sequences of symbols, with bounded memory: the trainer's source of candidates.
//
// Repeatedly joins the adjacent pair with the largest weight (ties: the lower pair) into a new symbol. A pair enters
// the books only if it reaches `min_weight`: its weight never grows later, so rarer pairs need no memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vortex_tok {

struct MergeSettings {
    uint32_t max_merges;
    uint64_t min_weight;
    uint32_t max_bytes;  // no symbol becomes longer
};

class MergeLearner {
  public:
    // symbols: all sequences in one array. starts: where each begins (ascending, starts[0] == 0). weights: one per
    // sequence. lengths: bytes of each initial symbol; new symbols get the ids after them.
    MergeLearner(std::vector<int32_t> symbols, const std::vector<uint64_t> &starts, const std::vector<uint32_t> &weights,
                 std::vector<uint32_t> lengths, MergeSettings settings)
        : symbol_(std::move(symbols)), length_(std::move(lengths)), settings_(settings) {
        const size_t count = symbol_.size();
        previous_.resize(count);
        next_.resize(count);
        weight_.resize(count);
        for (size_t s = 0; s < starts.size(); ++s) {
            const size_t begin = starts[s], end = s + 1 < starts.size() ? starts[s + 1] : count;
            for (size_t i = begin; i < end; ++i) {
                previous_[i] = i > begin ? static_cast<int32_t>(i) - 1 : -1;
                next_[i] = i + 1 < end ? static_cast<int32_t>(i) + 1 : -1;
                weight_[i] = weights[s];
            }
        }
    }

    std::vector<std::pair<int32_t, int32_t>> run() {
        std::vector<Place> places;
        places.reserve(symbol_.size());
        for (size_t i = 0; i < symbol_.size(); ++i)
            if (next_[i] >= 0) places.push_back({pair_at(static_cast<int32_t>(i)), static_cast<int32_t>(i)});
        admit(places);
        std::vector<Place>().swap(places);
        std::vector<std::pair<int32_t, int32_t>> merges;
        while (merges.size() < settings_.max_merges && !heap_.empty()) {
            const Candidate top = heap_.top();
            heap_.pop();
            const auto found = pairs_.find(top.pair);
            if (found == pairs_.end()) continue;
            if (found->second.weight < settings_.min_weight) {
                pairs_.erase(found);
            } else if (found->second.weight != top.weight) {
                heap_.push({found->second.weight, top.pair});
            } else {
                const std::vector<int32_t> positions = std::move(found->second.positions);
                pairs_.erase(found);
                merges.emplace_back(left_of(top.pair), right_of(top.pair));
                merge(top.pair, positions);
            }
        }
        return merges;
    }

  private:
    struct Place {
        uint64_t pair;
        int32_t position;
        bool operator<(const Place &other) const {
            return pair != other.pair ? pair < other.pair : position < other.position;
        }
    };
    struct Pair {
        uint64_t weight = 0;
        std::vector<int32_t> positions;  // of the left symbol, ascending; some may be out of date
    };
    struct Candidate {
        uint64_t weight, pair;
        bool operator<(const Candidate &other) const {
            return weight != other.weight ? weight < other.weight : pair > other.pair;
        }
    };

    static int32_t left_of(uint64_t pair) { return static_cast<int32_t>(pair >> 32); }
    static int32_t right_of(uint64_t pair) { return static_cast<int32_t>(pair & 0xffffffffu); }
    uint64_t pair_at(int32_t i) const {
        return static_cast<uint64_t>(symbol_[i]) << 32 | static_cast<uint32_t>(symbol_[next_[i]]);
    }

    // Books the pairs found at `places` that are heavy and short enough.
    void admit(std::vector<Place> &places) {
        std::sort(places.begin(), places.end());
        for (size_t begin = 0, end; begin < places.size(); begin = end) {
            const uint64_t pair = places[begin].pair;
            uint64_t weight = 0;
            for (end = begin; end < places.size() && places[end].pair == pair; ++end)
                weight += weight_[places[end].position];
            if (weight < settings_.min_weight) continue;
            if (length_[left_of(pair)] + length_[right_of(pair)] > settings_.max_bytes) continue;
            Pair &entry = pairs_[pair];
            entry.weight = weight;
            entry.positions.reserve(end - begin);
            for (size_t i = begin; i < end; ++i) entry.positions.push_back(places[i].position);
            heap_.push({weight, pair});
        }
    }

    void forget(int32_t position) {
        const auto found = pairs_.find(pair_at(position));
        if (found != pairs_.end()) found->second.weight -= weight_[position];
    }

    void merge(uint64_t pair, const std::vector<int32_t> &positions) {
        const int32_t left = left_of(pair), right = right_of(pair), merged = static_cast<int32_t>(length_.size());
        length_.push_back(length_[left] + length_[right]);
        std::vector<int32_t> joined;
        for (const int32_t at : positions) {
            const int32_t after = next_[at];
            if (symbol_[at] != left || after < 0 || symbol_[after] != right) continue;
            if (previous_[at] >= 0) forget(previous_[at]);
            if (next_[after] >= 0) forget(after);
            symbol_[at] = merged;
            symbol_[after] = -1;
            next_[at] = next_[after];
            if (next_[at] >= 0) previous_[next_[at]] = at;
            joined.push_back(at);
        }
        std::vector<Place> places;
        for (const int32_t at : joined) {
            if (previous_[at] >= 0 && symbol_[previous_[at]] != merged) places.push_back({pair_at(previous_[at]), previous_[at]});
            if (next_[at] >= 0) places.push_back({pair_at(at), at});
        }
        admit(places);
    }

    std::vector<int32_t> symbol_, previous_, next_;
    std::vector<uint32_t> weight_, length_;
    MergeSettings settings_;
    std::unordered_map<uint64_t, Pair> pairs_;
    std::priority_queue<Candidate> heap_;
};

}  // namespace vortex_tok
