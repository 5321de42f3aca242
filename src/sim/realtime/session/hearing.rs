//! The hearing: caller audio in, frames recorded, speech detected, committed and transcribed
//! (openai-realtime.md sections 2.1 and 4). The audio itself is not kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Session;
use super::conversation::{self, Item};
use super::responses::Asked;
use crate::sim::realtime::events::Refusal;
use crate::sim::realtime::vad::{Edge, FRAME_MS, START_FRAMES, Vad};
use crate::sim::speech;
use crate::sim::tag::FRAME_BYTES;

/// The most audio in one append.
const MAX_APPEND_BYTES: usize = 15 << 20;
/// The least audio that can be committed.
const MIN_COMMIT_MS: u32 = 100;

/// Speech that turn detection has found and not yet committed.
#[derive(Debug)]
pub struct Utterance {
    pub item_id: String,
    start_ms: u32,
}

/// A transcription under way.
#[derive(Debug)]
pub struct Transcript {
    pub due: u64,
    item_id: String,
    clips: Vec<u16>,
    millis: u32,
}

impl Session {
    /// `input_audio_buffer.append`: base64, in pieces of any length.
    pub fn append(&mut self, audio: &str, now: u64) -> Result<(), Refusal> {
        let audio = STANDARD.decode(audio).map_err(|_| {
            Refusal::new("base64", "invalid_value", "The audio is not valid base64.").on("audio")
        })?;
        if audio.len() > MAX_APPEND_BYTES {
            let message = "One append carries at most 15 MiB of audio.";
            return Err(Refusal::new("append-too-long", "invalid_value", message).on("audio"));
        }
        if !self.config.hears_mulaw() {
            let detail = format!("{} bytes were appended before audio/pcmu was in force", audio.len());
            self.record.violation("audio-before-session", detail);
            return Ok(());
        }
        let mut rest = audio.as_slice();
        if !self.partial.is_empty() {
            let missing = (FRAME_BYTES - self.partial.len()).min(rest.len());
            self.partial.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if let Ok(frame) = <[u8; FRAME_BYTES]>::try_from(self.partial.as_slice()) {
                self.partial.clear();
                self.hear(&frame, now);
            }
        }
        let (frames, rest) = rest.as_chunks::<FRAME_BYTES>();
        for frame in frames {
            self.hear(frame, now);
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// One frame of 20 ms.
    fn hear(&mut self, frame: &[u8; FRAME_BYTES], now: u64) {
        self.frames += 1;
        self.buffered += 1;
        if let Some(clip) = self.record.arrival(frame, now)
            && !self.clips.contains(&clip)
        {
            self.clips.push(clip);
        }
        if self.deaf_at.is_some_and(|at| at <= now) {
            return;
        }
        let Some(detection) = self.config.detection() else { return };
        match self.vad.hear(frame, &detection) {
            Some(Edge::Started) => {
                let padding = START_FRAMES * FRAME_MS + detection.prefix_padding_ms;
                let start_ms = self.position_ms().saturating_sub(padding.min(self.buffered * FRAME_MS));
                let item_id = self.new_id("item");
                let fields = json!({"audio_start_ms": start_ms, "item_id": item_id});
                self.out.event("input_audio_buffer.speech_started", fields);
                self.utterance = Some(Utterance { item_id, start_ms });
                self.idle_at = None;
                if detection.interrupt_response {
                    self.cancel_active("turn_detected", now);
                }
            }
            Some(Edge::Stopped) => {
                let Some(Utterance { item_id, start_ms }) = self.utterance.take() else { return };
                let end_ms = self.position_ms();
                let fields = json!({"audio_end_ms": end_ms, "item_id": item_id});
                self.out.event("input_audio_buffer.speech_stopped", fields);
                self.commit(item_id, end_ms - start_ms, now);
                if detection.create_response
                    && let Err(refusal) = self.respond(Asked::by_service(&self.config), now)
                {
                    self.out.error(&refusal, None);
                }
            }
            None => {}
        }
    }

    /// `input_audio_buffer.commit`.
    pub fn commit_by_client(&mut self, now: u64) -> Result<(), Refusal> {
        let millis = match (self.config.detection(), &self.utterance) {
            (None, _) => self.buffered * FRAME_MS,
            (Some(_), Some(utterance)) => self.position_ms() - utterance.start_ms,
            (Some(_), None) => 0,
        };
        if millis < MIN_COMMIT_MS {
            let message = format!(
                "Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, \
                 but buffer only has {millis}ms of audio."
            );
            return Err(Refusal::new("empty-commit", "input_audio_buffer_commit_empty", message));
        }
        let item_id =
            self.utterance.take().map_or_else(|| self.new_id("item"), |utterance| utterance.item_id);
        self.commit(item_id, millis, now);
        Ok(())
    }

    /// Makes an item of the input audio buffer.
    fn commit(&mut self, item_id: String, millis: u32, now: u64) {
        let fields = json!({"previous_item_id": self.conversation.last_id(), "item_id": item_id});
        self.out.event("input_audio_buffer.committed", fields);
        let mut item = Item::new(json!({
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": null}],
        }));
        item.heard_ms = millis;
        self.record.report.utterances += 1;
        self.add_item(item, None);
        let clips = std::mem::take(&mut self.clips);
        self.question = clips.last().copied();
        if self.config.transcribes() {
            let due = now + self.manners.transcript_delay_us;
            self.transcripts.push_back(Transcript { due, item_id, clips, millis });
        }
        self.empty_buffer();
    }

    /// Forgets what has not been committed.
    pub fn empty_buffer(&mut self) {
        self.buffered = 0;
        self.clips.clear();
        self.vad = Vad::default();
        self.utterance = None;
    }

    /// Says what was said, or, as a fault, that it could not be understood.
    pub fn transcribe(&mut self, transcript: Transcript) {
        let Transcript { item_id, clips, millis, .. } = transcript;
        self.transcribed += 1;
        if self.manners.faults.benign_errors && self.transcribed.is_multiple_of(2) {
            let error = json!({
                "type": "transcription_error",
                "code": "audio_unintelligible",
                "message": "The audio could not be transcribed.",
                "param": null,
            });
            let fields = json!({"item_id": item_id, "content_index": 0, "error": error});
            return self.out.event("conversation.item.input_audio_transcription.failed", fields);
        }
        let said: Vec<&str> = clips.iter().filter_map(|id| Some(speech::clip(*id)?.text)).collect();
        let text = if said.is_empty() { "(unintelligible)".to_owned() } else { said.join(" ") };
        if let Some(item) = self.conversation.find(&item_id) {
            item.json["content"][0]["transcript"] = text.as_str().into();
        }
        let delta = json!({"item_id": item_id, "content_index": 0, "delta": text});
        self.out.event("conversation.item.input_audio_transcription.delta", delta);
        let (input, output) = (millis / 100, conversation::text_tokens(&text));
        let usage = json!({
            "type": "tokens",
            "total_tokens": input + output,
            "input_tokens": input,
            "input_token_details": {"text_tokens": 0, "audio_tokens": input},
            "output_tokens": output,
        });
        let fields = json!({"item_id": item_id, "content_index": 0, "transcript": text, "usage": usage});
        self.out.event("conversation.item.input_audio_transcription.completed", fields);
    }

    /// `idle_timeout_ms` has passed: an empty item is committed and answered.
    pub fn nobody_speaks(&mut self, now: u64) {
        self.idle_at = None;
        let end_ms = self.position_ms();
        let item_id = self.new_id("item");
        let start_ms = end_ms.saturating_sub(self.buffered * FRAME_MS);
        let fields = json!({"audio_start_ms": start_ms, "audio_end_ms": end_ms, "item_id": item_id});
        self.out.event("input_audio_buffer.timeout_triggered", fields);
        self.commit(item_id, 0, now);
        if let Err(refusal) = self.respond(Asked::by_service(&self.config), now) {
            self.out.error(&refusal, None);
        }
    }

    fn position_ms(&self) -> u32 {
        self.frames * FRAME_MS
    }
}
