"""Write a GGUF again with its matrices in another format, so that both sides of a comparison read the same file.

    python scripts/requantise_gguf.py model.Q4_1.gguf model.Q4_0.gguf Q4_0

Matrices are decoded and quantised by the `gguf` package (what it cannot is refused); vectors and metadata stay.
The second rounding costs quality: such a file is for speed, not for answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("format", choices=["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
    arguments = parser.parse_args()
    reader = gguf.GGUFReader(arguments.source)
    writer = gguf.GGUFWriter(arguments.target, str(reader.fields["general.architecture"].contents()))
    copy_metadata(reader, writer)
    kind = GGMLQuantizationType[arguments.format]
    for tensor in reader.tensors:
        if len(tensor.shape) < 2:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in {"general.architecture", "general.file_type"}:
            continue
        nested = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], nested)


if __name__ == "__main__":
    main()
