// Python's view of the native tokenizer core: the same names and results as reference.py, at the machine's speed.
// Bytes in, arrays of int32 codes out; the interpreter lock is released while bytes are read.

#include "merges.hpp"
#include "parser.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace vortex_tok;

using Codes = nb::ndarray<nb::numpy, int32_t, nb::ndim<1>>;
using CodesIn = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using WidesIn = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Array = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T> Array<T> to_array(std::vector<T> &&values) {
    auto *kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return Array<T>(kept->data(), {kept->size()}, owner);
}

const uint8_t *bytes_of(const nb::bytes &data) { return reinterpret_cast<const uint8_t *>(data.c_str()); }

class Core {
  public:
    Core(const std::vector<nb::bytes> &pieces, const std::vector<uint32_t> &costs, bool greedy) : greedy_(greedy) {
        for (const auto &piece : pieces) pieces_.emplace_back(piece.c_str(), piece.size());
        trie_ = std::make_shared<Trie>(pieces_, costs);
        if (trie_->longest() > 255) throw nb::value_error("a piece is longer than 255 bytes");
        for (int byte = 0; byte < 256; ++byte) {
            const uint32_t node = trie_->step(Trie::kRoot, static_cast<uint8_t>(byte));
            if (node == 0 || (*trie_)[node].code < 0) throw nb::value_error("every single byte must be a piece");
        }
        longest_ = trie_->longest();
        table_.resize(pieces_.size() * longest_);
        for (size_t i = 0; i < pieces_.size(); ++i) {
            lengths_.push_back(static_cast<uint8_t>(pieces_[i].size()));
            std::memcpy(table_.data() + i * longest_, pieces_[i].data(), pieces_[i].size());
        }
    }

    Array<int32_t> encode(const nb::bytes &data) const {
        std::vector<int32_t> out;
        {
            nb::gil_scoped_release unlocked;
            out.reserve(data.size() / 4 + 16);
            Parser parser(trie_, greedy_);
            parser.push(bytes_of(data), data.size(), out);
            parser.finish(out);
        }
        return to_array(std::move(out));
    }

    nb::bytes decode(const CodesIn &codes) const {
        size_t total = 0;
        const size_t count = codes.shape(0);
        for (size_t i = 0; i < count; ++i) {
            const int32_t code = codes.data()[i];
            if (code < 0 || static_cast<size_t>(code) >= pieces_.size()) throw nb::index_error("code out of range");
            total += lengths_[code];
        }
        PyObject *made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(total));
        if (made == nullptr) throw nb::python_error();
        write(codes.data(), count, PyBytes_AS_STRING(made), total);
        return nb::steal<nb::bytes>(made);
    }

    // Per code: times used, and times used outside the one document that uses it most.
    // documents: one buffer; ends: where each document ends.
    std::pair<Array<int64_t>, Array<int64_t>> usage(const nb::bytes &documents, const WidesIn &ends) const {
        std::vector<int64_t> used(pieces_.size(), 0), most(pieces_.size(), 0), here(pieces_.size(), 0);
        {
            nb::gil_scoped_release unlocked;
            const uint8_t *data = bytes_of(documents);
            size_t begin = 0;
            std::vector<int32_t> out;
            for (size_t d = 0; d < ends.shape(0); ++d) {
                const size_t end = static_cast<size_t>(ends.data()[d]);
                if (end < begin || end > documents.size()) break;
                out.clear();
                Parser parser(trie_, greedy_);
                parser.push(data + begin, end - begin, out);
                parser.finish(out);
                for (const int32_t code : out) ++here[code];
                for (const int32_t code : out) {
                    used[code] += here[code];
                    most[code] = std::max(most[code], here[code]);
                    here[code] = 0;
                }
                begin = end;
            }
            for (size_t i = 0; i < most.size(); ++i) most[i] = used[i] - most[i];
        }
        return {to_array(std::move(used)), to_array(std::move(most))};
    }

    // Per code: cost of its own bytes without it (for single bytes: its own cost).
    Array<int64_t> costs_without() const {
        std::vector<int64_t> out;
        {
            nb::gil_scoped_release unlocked;
            for (size_t i = 0; i < pieces_.size(); ++i) {
                const auto *data = reinterpret_cast<const uint8_t *>(pieces_[i].data());
                const int32_t excluded = pieces_[i].size() > 1 ? static_cast<int32_t>(i) : -1;
                out.push_back(static_cast<int64_t>(Parser(trie_, false, excluded).cost_of(data, pieces_[i].size())));
            }
        }
        return to_array(std::move(out));
    }

    std::shared_ptr<const Trie> trie() const { return trie_; }
    bool greedy() const { return greedy_; }

  private:
    // Copies a fixed 16 bytes for short pieces (most are), then steps by their true length.
    void write(const int32_t *codes, size_t count, char *to, size_t total) const {
        const char *end = to + total;
        for (size_t i = 0; i < count; ++i) {
            const size_t length = lengths_[codes[i]];
            const char *from = table_.data() + static_cast<size_t>(codes[i]) * longest_;
            if (length <= 16 && longest_ >= 16 && end - to >= 16)
                std::memcpy(to, from, 16);
            else
                std::memcpy(to, from, length);
            to += length;
        }
    }

    std::vector<std::string> pieces_;
    std::vector<uint8_t> lengths_;
    std::vector<char> table_;  // one row of `longest_` bytes per piece
    size_t longest_ = 0;
    std::shared_ptr<const Trie> trie_;
    bool greedy_;
};

class StreamEncoder {
  public:
    explicit StreamEncoder(const Core &core) : parser_(core.trie(), core.greedy()) {}
    Array<int32_t> push(const nb::bytes &data) {
        std::vector<int32_t> out;
        parser_.push(bytes_of(data), data.size(), out);
        return to_array(std::move(out));
    }
    Array<int32_t> finish() {
        std::vector<int32_t> out;
        parser_.finish(out);
        return to_array(std::move(out));
    }

  private:
    Parser parser_;
};

std::vector<std::pair<int32_t, int32_t>> learn_merges(const CodesIn &symbols, const WidesIn &starts,
                                                      const WidesIn &weights, const std::vector<uint32_t> &lengths,
                                                      uint32_t max_merges, uint64_t min_weight, uint32_t max_bytes) {
    if (symbols.shape(0) > 0x7fffffff) throw nb::value_error("more than 2^31 symbols");
    if (starts.shape(0) != weights.shape(0)) throw nb::value_error("one weight per sequence");
    for (size_t i = 0; i < symbols.shape(0); ++i)
        if (symbols.data()[i] < 0 || static_cast<size_t>(symbols.data()[i]) >= lengths.size())
            throw nb::index_error("symbol out of range");
    nb::gil_scoped_release unlocked;
    MergeLearner learner({symbols.data(), symbols.data() + symbols.shape(0)},
                         {starts.data(), starts.data() + starts.shape(0)},
                         {weights.data(), weights.data() + weights.shape(0)}, lengths,
                         {max_merges, std::max<uint64_t>(min_weight, 1), max_bytes});
    return learner.run();
}

NB_MODULE(_vortex_tok, m) {
    nb::class_<Core>(m, "Core")
        .def(nb::init<const std::vector<nb::bytes> &, const std::vector<uint32_t> &, bool>(), nb::arg("pieces"),
             nb::arg("costs"), nb::arg("greedy") = false)
        .def("encode", &Core::encode)
        .def("decode", &Core::decode)
        .def("usage", &Core::usage)
        .def("costs_without", &Core::costs_without);
    nb::class_<StreamEncoder>(m, "StreamEncoder")
        .def(nb::init<const Core &>())
        .def("push", &StreamEncoder::push)
        .def("finish", &StreamEncoder::finish);
    m.def("learn_merges", &learn_merges, nb::arg("symbols"), nb::arg("starts"), nb::arg("weights"), nb::arg("lengths"),
          nb::kw_only(), nb::arg("max_merges"), nb::arg("min_weight"), nb::arg("max_bytes"));
}
