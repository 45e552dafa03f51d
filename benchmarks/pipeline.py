"""How fast each step of the pipeline is here: `python benchmarks/pipeline.py [--code 4,6] [--kernel numpy]`.

CPU time of one thread, median (and best: a busy neighbour takes caches away) of the rounds; bytes are plain bytes of
the chunk, whatever a step makes of them.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable

from blake3 import blake3

from p2pstore.ids import GenerationId
from p2pstore.limits import MIB
from p2pstore.pipeline import sealing
from p2pstore.pipeline.arena import Arena
from p2pstore.pipeline.chunking import cut_lengths
from p2pstore.pipeline.compression import compress, decompress
from p2pstore.pipeline.erasure.code import Code, encode_parity, shard_length
from p2pstore.pipeline.erasure.kernels import Kernel, best_kernel, kernel_named, usable_kernels
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.pipeline.shard import open_shard, payload_hash
from p2pstore.pipeline.stripe import decode_chunk, encode_chunk, rebuild_shards

GIB = 1024 * MIB
KEYS = SealingKeys(GenerationId(bytes(16)), bytes(range(32)), bytes(range(32)))
FILE_BYTES = 64 * MIB


def noise(length: int) -> bytes:
    """Incompressible bytes."""
    return blake3(b"benchmark").digest(length=length)


def prose(length: int) -> bytes:
    """Bytes that zstd shrinks to about a half: hexadecimal words."""
    return noise(length // 2).hex(" ", 5).encode()[:length]


def cpu_s(step: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and least CPU seconds of this thread, after a turn that warms caches and memory."""
    step()
    times = []
    for _ in range(rounds):
        begin = time.thread_time()
        step()
        times.append(time.thread_time() - begin)
    return statistics.median(times), min(times)


def show(name: str, size: int, seconds: tuple[float, float]) -> None:
    """One line of the table."""
    median, least = seconds
    print(f"{name:<44}{median / size * GIB:>10.3f}{size / GIB / median:>10.2f}{size / GIB / least:>10.2f}")


def measure_steps(plain: bytes, needed: int, total: int, kernel: Kernel, rounds: int) -> None:
    """Each step alone, then composed, of incompressible chunks."""
    size = len(plain)

    def step(name: str, work: Callable[[], object]) -> None:
        show(name, size, cpu_s(work, rounds))

    file = noise(FILE_BYTES)
    show("cut (FastCDC)", FILE_BYTES, cpu_s(lambda: cut_lengths(file, dedupe_key=bytes(32), final=True), 3))
    step("chunk id (BLAKE3)", lambda: sealing.chunk_name(plain, KEYS.dedupe))
    step("probe", lambda: compress(plain, level=1))
    chunk = sealing.draft(plain, KEYS)
    length = shard_length(chunk.sealed_length, code=Code.MOTHER, needed=needed)
    arena = Arena()
    block = arena.take(total * length)
    rows = [block[row * length : (row + 1) * length] for row in range(total)]
    step("seal (AES-256-GCM)", lambda: sealing.seal_into(chunk, block))
    targets = {index: rows[index] for index in range(needed, total)}
    for each in usable_kernels():
        step(f"parity ({each.name})", lambda each=each: encode_parity(rows[:needed], targets, kernel=each))  # type: ignore[misc]
    step("shard hashes (BLAKE3)", lambda: [payload_hash(row) for row in rows])

    encoded = encode_chunk(plain, KEYS, needed=needed, total=total, kernel=kernel)
    shards = [open_shard(shard.header, bytes(shard.payload)) for shard in encoded.shards]
    parts = [(shard.header, bytes(shard.payload)) for shard in encoded.shards[:needed]]
    most_lost = shards[total - needed :]
    print()

    def decode(where: Arena | None) -> object:
        return decode_chunk(shards, lambda _: KEYS, expect=encoded.chunk, arena=where, kernel=kernel)

    def encode(where: Arena | None) -> object:
        return encode_chunk(plain, KEYS, needed=needed, total=total, arena=where, kernel=kernel)

    step("encode_chunk, arena", lambda: encode(arena))
    step("encode_chunk, fresh memory", lambda: encode(None))
    step("verify k shards", lambda: [open_shard(header, payload) for header, payload in parts])
    step("decode_chunk, arena", lambda: decode(arena))
    step("decode_chunk, fresh memory", lambda: decode(None))
    step(
        f"decode_chunk, arena, {min(needed, total - needed)} data shards lost",
        lambda: decode_chunk(most_lost, lambda _: KEYS, expect=encoded.chunk, arena=arena, kernel=kernel),
    )
    step("rebuild_shards, one lost", lambda: rebuild_shards(shards[1:], wanted=[0], arena=arena, kernel=kernel))


def measure_text(size: int, needed: int, total: int, kernel: Kernel, rounds: int) -> None:
    """What changes when the chunk is compressible."""
    plain = prose(size)[:size]
    frame = compress(plain, level=1)
    assert frame is not None
    encoded = encode_chunk(plain, KEYS, needed=needed, total=total, kernel=kernel)
    shards = [open_shard(shard.header, shard.payload) for shard in encoded.shards]
    arena = Arena()
    print(f"\ntext, zstd 1 to {len(frame) / size:.2f}")
    show("compress", size, cpu_s(lambda: compress(plain, level=1), rounds))
    show("decompress", size, cpu_s(lambda: decompress(frame, plain_length=size), rounds))
    show(
        "encode_chunk",
        size,
        cpu_s(lambda: encode_chunk(plain, KEYS, needed=needed, total=total, arena=arena, kernel=kernel), rounds),
    )
    show(
        "decode_chunk",
        size,
        cpu_s(lambda: decode_chunk(shards, lambda _: KEYS, expect=encoded.chunk, kernel=kernel), rounds),
    )


def measure_composed(needed: int, total: int, kernel: Kernel) -> None:
    """A file cut and encoded, read back and compared: one thread, then two at once."""
    file = memoryview(noise(FILE_BYTES))

    def there_and_back() -> None:
        arena, plain_arena = Arena(), Arena()
        begin = 0
        for length in cut_lengths(file, dedupe_key=bytes(32), final=True):
            plain = file[begin : begin + length]
            begin += length
            encoded = encode_chunk(plain, KEYS, needed=needed, total=total, arena=arena, kernel=kernel)
            shards = [open_shard(shard.header, shard.payload) for shard in encoded.shards[-needed:]]
            decode_chunk(shards, lambda _: KEYS, expect=encoded.chunk, arena=plain_arena, kernel=kernel)

    print("\ncomposed: cut, encode, verify, decode from the last k shards")
    show("one thread", FILE_BYTES, cpu_s(there_and_back, 3))
    for count in (1, 2):
        threads = [threading.Thread(target=there_and_back) for _ in range(count)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall_s = time.perf_counter() - begin
        show(f"{count} thread(s), wall", count * FILE_BYTES, (wall_s, wall_s))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", default="4,6", help="k,n")
    parser.add_argument("--chunk-mib", type=float, default=2.0)
    parser.add_argument("--kernel", default=None, help=", ".join(kernel.name for kernel in usable_kernels()))
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    needed, total = map(int, options.code.split(","))
    kernel = best_kernel() if options.kernel is None else kernel_named(options.kernel)
    size = int(options.chunk_mib * MIB)
    print(f"k = {needed}, n = {total}, chunks of {options.chunk_mib} MiB, kernel {kernel.name}, incompressible\n")
    print(f"{'step':<44}{'CPU-s/GiB':>10}{'GiB/s':>10}{'best':>10}")
    measure_steps(noise(size), needed, total, kernel, options.rounds)
    measure_text(size, needed, total, kernel, options.rounds)
    measure_composed(needed, total, kernel)


if __name__ == "__main__":
    main()
