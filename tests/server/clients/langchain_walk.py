"""What LangChain users do, against the server whose address is given."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


@tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"21 degrees in {city}"


where = {"model": "vortex-fake", "base_url": sys.argv[1] + "/v1", "api_key": "none"}
model = ChatOpenAI(**where)
answer = model.invoke("What is the capital of France?")
assert answer.content == "Paris."
assert answer.usage_metadata["total_tokens"] > 2
assert "".join(chunk.content for chunk in model.stream("What is the capital of France?")) == "Paris."
for method in ("json_schema", "function_calling"):
    assert isinstance(model.with_structured_output(Person, method=method).invoke("Ada, 36"), Person)
asked = model.bind_tools([weather], tool_choice="any").invoke("weather in Rome")
(call,) = asked.tool_calls
told = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
assert "21 degrees" in model.invoke([HumanMessage("weather in Rome"), asked, told]).content
embedder = OpenAIEmbeddings(**where, check_embedding_ctx_length=False)
assert len(embedder.embed_documents(["a", "b"])) == 2
print("langchain: every step passed")
