"""Read what users hand in: text, files, chats, examples, facts -> drafts."""
