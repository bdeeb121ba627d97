"""The memory over HTTP: REST, and the chat completions that OpenAI's clients speak. Needs the extra `server`."""
