"""A real llama.cpp server over a tiny random model that is made on the spot.

    python -m tests.support.llama MODEL PORT

The model is a llama of one layer whose vocabulary is every byte and a few words:
its answers are noise, but the server, its tokens and its counts are real.
"""

import sys
import threading
from pathlib import Path

import gguf
import numpy as np

DIMENSIONS = 32
HEADS = 2
FEED_FORWARD = 64
CONTEXT = 4096
WORDS = ("▁hello", "▁world", "▁the", "▁a", "▁relay", "ing", "er")
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n"
    "{% endfor %}[assistant] "
)
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
"""Token types as GGUF numbers them."""


def write_model(path: Path) -> None:
    """Write the model; the same every time."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(WORDS)]
    tokens += WORDS
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIMENSIONS)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIMENSIONS // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, shape in tensor_shapes(len(tokens)).items():
        writer.add_tensor(name, tensor(name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensor_shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Name every tensor of the model and its shape."""
    square = (DIMENSIONS, DIMENSIONS)
    layer = {
        "attn_norm": (DIMENSIONS,),
        "ffn_norm": (DIMENSIONS,),
        "attn_q": square,
        "attn_k": square,
        "attn_v": square,
        "attn_output": square,
        "ffn_gate": (FEED_FORWARD, DIMENSIONS),
        "ffn_up": (FEED_FORWARD, DIMENSIONS),
        "ffn_down": (DIMENSIONS, FEED_FORWARD),
    }
    return {
        "token_embd.weight": (vocabulary, DIMENSIONS),
        "output.weight": (vocabulary, DIMENSIONS),
        "output_norm.weight": (DIMENSIONS,),
        **{f"blk.0.{name}.weight": shape for name, shape in layer.items()},
    }


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Make a tensor: ones for a norm, noise from the name for the others."""
    if "norm" in name:
        return np.ones(shape, dtype=np.float32)
    noise = np.random.default_rng(sum(name.encode())).standard_normal(shape)
    return (noise * 0.05).astype(np.float32)


def serve(model: str, port: int) -> None:
    """Serve until killed."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {"tiny"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
