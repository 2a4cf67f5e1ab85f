// A byte trie in a double array: one 16-byte node per step of a walk.
//
// Holds the pieces of a vocabulary (code = index into the list it was built from) with an integer cost each.
// Built once, then read only; safe to share between threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vortex_tok {

struct Node {
    uint32_t base = 0;    // child by byte b lives at base + b; 0: no children
    uint32_t parent = 0;  // index of the parent plus 1; 0: this slot is free
    int32_t code = -1;    // piece that ends here, or -1
    uint32_t cost = 0;    // its cost
};

class Trie {
  public:
    Trie(const std::vector<std::string> &pieces, const std::vector<uint32_t> &costs) {
        if (pieces.size() != costs.size()) throw std::invalid_argument("one cost per piece");
        std::vector<uint32_t> order(pieces.size());
        for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return pieces[a] < pieces[b]; });
        for (const auto &piece : pieces) {
            if (piece.empty()) throw std::invalid_argument("empty piece");
            longest_ = std::max(longest_, piece.size());
        }
        nodes_.resize(1024);
        nodes_[kRoot].parent = kRoot + 1;
        place(kRoot, order, 0, order.size(), 0, pieces, costs);
        nodes_.resize(nodes_.size() + 256);  // a step from any node stays inside the array
    }

    static constexpr uint32_t kRoot = 0;
    size_t longest() const { return longest_; }

    // The child of `node` by `byte`, or 0 (the root is nobody's child).
    uint32_t step(uint32_t node, uint8_t byte) const {
        const uint32_t child = nodes_[node].base + byte;
        return nodes_[child].parent == node + 1 ? child : 0;
    }
    const Node &operator[](uint32_t node) const { return nodes_[node]; }

  private:
    // Gives the children of `node` (the pieces order[begin..end) share their first `depth` bytes) their places.
    void place(uint32_t node, const std::vector<uint32_t> &order, size_t begin, size_t end, size_t depth,
               const std::vector<std::string> &pieces, const std::vector<uint32_t> &costs) {
        while (begin < end && pieces[order[begin]].size() == depth) {
            if (nodes_[node].code >= 0) throw std::invalid_argument("the same piece twice");
            nodes_[node].code = static_cast<int32_t>(order[begin]);
            nodes_[node].cost = costs[order[begin]];
            ++begin;
        }
        if (begin == end) return;
        std::vector<std::pair<uint8_t, size_t>> children;  // byte, first index of its range
        for (size_t i = begin; i < end; ++i) {
            const uint8_t byte = static_cast<uint8_t>(pieces[order[i]][depth]);
            if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
        }
        const uint32_t base = free_base(children);
        nodes_[node].base = base;
        for (const auto &child : children) nodes_[base + child.first].parent = node + 1;
        for (size_t c = 0; c < children.size(); ++c) {
            const size_t stop = c + 1 < children.size() ? children[c + 1].second : end;
            place(base + children[c].first, order, children[c].second, stop, depth + 1, pieces, costs);
        }
    }

    // The search goes on where the last one for families of this size ended: holes left behind stay for smaller ones.
    uint32_t free_base(const std::vector<std::pair<uint8_t, size_t>> &children) {
        const uint8_t first = children.front().first;
        const size_t count = children.size();
        uint32_t &cursor = cursors_[count < 2 ? 0 : count < 4 ? 1 : count < 16 ? 2 : 3];
        for (uint32_t slot = std::max<uint32_t>(cursor, first + 1u);; ++slot) {
            if (slot + 256 >= nodes_.size()) nodes_.resize(nodes_.size() * 2);
            const uint32_t base = slot - first;
            const bool fits = std::all_of(children.begin(), children.end(),
                                          [&](const auto &child) { return nodes_[base + child.first].parent == 0; });
            if (!fits) continue;
            cursor = std::max(cursor, slot);
            return base;
        }
    }

    std::vector<Node> nodes_;
    size_t longest_ = 0;
    uint32_t cursors_[4] = {1, 1, 1, 1};
};

}  // namespace vortex_tok
