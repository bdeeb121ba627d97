"""mem0's verbs over the memory, for an application that was written for mem0. A few seconds.

hybrid-memory models pull        # once
python examples/with_mem0_verbs.py
"""

import tempfile

from hybrid_memory import HybridMemory
from hybrid_memory.integrations.mem0 import Memory


def main(memory: HybridMemory) -> None:
    """Add, search, update, look at the history, delete."""
    client = Memory(memory)
    messages = [{"role": "user", "content": "My dog is called Bosun."}]
    dog = client.add(messages, user_id="ann", infer=False)["results"][0]["id"]

    found = client.search("What is the dog called?", filters={"user_id": "ann"})["results"][0]
    print(f"found    {found['memory']}  ({found['score']})")
    client.update(str(dog), "My dog is called Skipper.")
    for line in client.history(str(dog)):
        print(f"history  {line['event']}: {line['old_memory']} -> {line['new_memory']}")
    print(f"deleted  {client.delete(str(dog))['message']} Left: {client.get_all(user_id='ann')['results']}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HybridMemory.open(folder) as memory:
        main(memory)
