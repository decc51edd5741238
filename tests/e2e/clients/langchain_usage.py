"""What the documentation of langchain-redis shows, against the node whose port is given: a store of vectors, caches, a
history of messages."""

import sys

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import Generation
from langchain_redis import RedisCache, RedisChatMessageHistory, RedisConfig, RedisVectorStore

URL = f"redis://127.0.0.1:{sys.argv[1]}"
EMBEDDINGS = DeterministicFakeEmbedding(size=32)
TEXTS = ["the cat sat on the mat", "dogs chase cats", "a treatise on integers", "rings and fields"]
TOPICS = ["animals", "animals", "mathematics", "mathematics"]


def store_of_vectors(storage, algorithm):
    schema = [{"name": "topic", "type": "tag"}, {"name": "page", "type": "numeric"}]
    config = RedisConfig(index_name=f"{storage}-{algorithm}", redis_url=URL, metadata_schema=schema,
                         indexing_algorithm=algorithm, storage_type=storage)
    store = RedisVectorStore(EMBEDDINGS, config=config)
    metadata = [{"topic": topic, "page": page} for page, topic in enumerate(TOPICS)]
    keys = store.add_texts(TEXTS, metadata)
    assert len(set(keys)) == len(TEXTS)
    for text, topic in zip(TEXTS, TOPICS):
        (found, distance), *_ = store.similarity_search_with_score(text, k=2)
        assert found.page_content == text and found.metadata["topic"] == topic and abs(distance) < 1e-3
    from redisvl.query.filter import Num, Tag
    found = store.similarity_search(TEXTS[0], k=4, filter=Tag("topic") == "mathematics")
    assert sorted(one.page_content for one in found) == sorted(TEXTS[2:])
    found = store.similarity_search(TEXTS[0], k=4, filter=(Tag("topic") == "mathematics") & (Num("page") > 2))
    assert [one.page_content for one in found] == TEXTS[3:]
    found = store.max_marginal_relevance_search(TEXTS[0], k=2, fetch_k=4)
    assert found[0].page_content == TEXTS[0] and len(found) == 2
    more = store.add_documents([Document(page_content="fish swim", metadata={"topic": "animals", "page": 9})])
    assert store.similarity_search("fish swim", k=1)[0].page_content == "fish swim"
    assert store.delete(more)
    assert store.similarity_search("fish swim", k=1)[0].page_content != "fish swim"
    again = RedisVectorStore.from_existing_index(config.index_name, EMBEDDINGS, redis_url=URL, storage_type=storage)
    assert again.similarity_search(TEXTS[1], k=1)[0].page_content == TEXTS[1]
    retriever = store.as_retriever(search_kwargs={"k": 1})
    assert retriever.invoke(TEXTS[2])[0].page_content == TEXTS[2]


def cache():
    kept = RedisCache(redis_url=URL)
    assert kept.lookup("prompt", "model") is None
    kept.update("prompt", "model", [Generation(text="answer")])
    assert kept.lookup("prompt", "model")[0].text == "answer"
    kept.clear()
    assert kept.lookup("prompt", "model") is None


def history():
    messages = RedisChatMessageHistory(session_id="one", redis_url=URL)
    messages.add_message(HumanMessage(content="Where is the cat?"))
    messages.add_message(AIMessage(content="On the mat."))
    assert [message.content for message in messages.messages] == ["Where is the cat?", "On the mat."]
    assert RedisChatMessageHistory(session_id="two", redis_url=URL).messages == []
    assert "mat" in str(messages.search_messages("mat"))
    messages.clear()
    assert messages.messages == []


for storage in ("hash", "json"):
    for algorithm in ("FLAT", "HNSW"):
        store_of_vectors(storage, algorithm)
cache()
history()
print("ok")
