//! The last look at a clip: its frames again, painted from the keyframes, into the film's file.

use anyhow::Result;

use super::fill::FillNetwork;
use super::work::{Plan, WorkFolder};
use super::{Clip, small};
use crate::commands::mask::{Mask, Remarks};
use crate::console::Console;
use crate::film::{Carried, Carrier};
use crate::frame::{Frame, FrameSize};
use crate::media::{VideoReader, VideoWriter, Written};
use crate::style::pixels::{Mix, mix_in_place};
use crate::style::upscale::GuidedUpscaler;

/// A film whose keyframes are painted.
pub struct Film<'a> {
    /// The clip.
    pub clip: &'a Clip<'a>,
    /// Where the keyframes are.
    pub work: &'a WorkFolder,
    /// Which they are.
    pub plan: &'a Plan,
    /// The pass whose keyframes are shown.
    pub last_pass: u64,
    /// The size of the film.
    pub size: FrameSize,
}

/// A film on the disk.
pub struct WrittenFilm {
    pub file: Written,
    /// How the clip is damaged.
    pub damage: Option<String>,
    /// What was found wrong with the mask.
    pub remarks: Remarks,
    /// Whether it ends before the clip does, since the run was stopped.
    pub is_stopped: bool,
}

impl Film<'_> {
    /// Reads the clip once more and writes the film; `None` when nothing was written.
    ///
    /// # Errors
    /// If the clip cannot be read, a keyframe is missing, or the film cannot be written.
    pub fn write(&self, fill: &mut FillNetwork, console: Console) -> Result<Option<WrittenFilm>> {
        let control = &self.clip.control;
        let mut reader = self.clip.open()?;
        let mut output = Output::new(self.clip, &reader)?;
        let mut carrier = Carrier::<Frame>::new()?;
        let mut scaler = GuidedUpscaler::new();
        let mut keyframes = self.plan.keyframes.iter().peekable();
        let mut display = console.progress(Some(self.plan.frames));
        let mut index = 0;
        let mut next = || -> Result<bool> {
            let Some(frame) = reader.next_frame()?.filter(|_| !control.is_stopped()) else {
                output.put(carrier.finish(fill)?)?;
                return Ok(false);
            };
            let content = small(&mut scaler, &frame, self.size)?;
            match keyframes.next_if(|keyframe| keyframe.frame == index) {
                Some(keyframe) => {
                    let painted = self.work.painted(index, self.last_pass, self.size)?;
                    output.put(carrier.push_key(frame, content, painted, keyframe.is_new_scene, fill)?)?;
                }
                None => carrier.push(frame, content)?,
            }
            index += 1;
            display.update_with(index, || "carrying along the motion".to_owned());
            Ok(true)
        };
        let result = loop {
            match next() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        display.end();
        match result {
            Err(_) if control.is_aborted() => return Ok(None),
            other => other?,
        }
        if output.frames == 0 {
            return Ok(None);
        }
        // What stops it behind this finds it whole.
        let is_stopped = control.is_stopped();
        let is_cut_short = is_stopped || self.clip.cut.frames.is_some_and(|most| output.frames >= most);
        let note = |bytes| match self.work.note_output(bytes) {
            // A whole film is not lost for want of a note.
            Err(error) if !is_stopped => {
                tracing::warn!("{error:#}");
                Ok(())
            }
            noted => noted,
        };
        let file = output.writer.finish_noting(is_cut_short, note)?;
        let remarks = output.mask.as_ref().map(Mask::remarks).unwrap_or_default();
        Ok(Some(WrittenFilm { file, damage: reader.damage().describe(), remarks, is_stopped }))
    }
}

/// The file that is written, and how a painting becomes a frame of it.
struct Output {
    writer: VideoWriter,
    upscaler: GuidedUpscaler,
    mix: Mix,
    mask: Option<Mask>,
    frames: u64,
}

impl Output {
    fn new(clip: &Clip<'_>, reader: &VideoReader) -> Result<Self> {
        let style = &clip.args.style;
        Ok(Self {
            writer: clip.writer(reader)?,
            upscaler: GuidedUpscaler::new(),
            mask: clip.mask(reader)?,
            mix: Mix { strength: style.look.strength, keep_color: style.look.keep_color },
            frames: 0,
        })
    }

    fn put(&mut self, frames: Vec<Carried<Frame>>) -> Result<()> {
        for Carried { item: original, content, painted } in frames {
            let mut painted = painted.to_frame();
            if original.size != content.size {
                let mut large = Frame::black(original.size);
                self.upscaler.upscale(&original, &content, &painted, &mut large)?;
                painted = large;
            }
            mix_in_place(original.pixels(), painted.pixels_mut(), self.mix);
            if let Some(mask) = &mut self.mask {
                mask.apply(&original, &mut painted)?;
            }
            painted.timestamp = original.timestamp;
            painted.frame_index = original.frame_index;
            self.writer.write(&painted)?;
            self.frames += 1;
        }
        Ok(())
    }
}
