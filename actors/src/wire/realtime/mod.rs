//! The OpenAI Realtime service: events and the socket.
