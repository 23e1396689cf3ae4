//! The few things that `ffmpeg-next` has no safe name for. With `v4l2.rs` the only file of the room with `unsafe`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::format::{Pixel, context};
use ffmpeg::packet::side_data::Type as SideDataType;
use ffmpeg::packet::{Mut, Ref};
use ffmpeg::{Error, Packet, Rational, codec};

use super::Interrupt;

/// The version of FFmpeg's libraries, as its package calls it.
pub fn version() -> String {
    // SAFETY: the function returns a static string that ends in NUL.
    unsafe { CStr::from_ptr(ffi::av_version_info()) }.to_string_lossy().into_owned()
}

/// What a demuxer said beside a packet: after damage it finds its way again by itself, and only says so in its messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Complaints {
    /// Of an error.
    pub of_error: bool,
    /// Of a packet that may not be whole.
    pub of_packet: bool,
}

thread_local! {
    /// The address of the demuxer that this thread reads from, and what it has said.
    static LISTENING: Cell<(usize, Complaints)> = const { Cell::new((0, Complaints { of_error: false, of_packet: false })) };
}

/// Has FFmpeg's messages looked at and not written to the terminal, from now on and for the whole process.
pub fn listen_to_messages() {
    // SAFETY: the function is set as FFmpeg's own is; `listen` may be called on any thread, at any time.
    unsafe { ffi::av_log_set_callback(Some(listen)) };
}

/// Takes one of FFmpeg's messages; what `Arguments` is depends on the processor, and is not looked at.
unsafe extern "C" fn listen<Arguments>(
    source: *mut c_void,
    level: c_int,
    format: *const c_char,
    _arguments: Arguments,
) {
    let (reading, mut complaints) = LISTENING.get();
    if reading == 0 || reading != source as usize {
        return;
    }
    // Above the lowest byte of the level stand colors.
    complaints.of_error |= level & 0xFF <= ffi::AV_LOG_ERROR;
    // SAFETY: FFmpeg's formats end in NUL.
    complaints.of_packet |= unsafe { CStr::from_ptr(format) }.to_bytes().starts_with(b"Packet corrupt");
    LISTENING.set((reading, complaints));
}

/// Reads a packet, and says what the demuxer complained of beside.
pub fn read_packet(input: &mut context::Input, packet: &mut Packet) -> (Result<(), Error>, Complaints) {
    // SAFETY: the pointer is only compared.
    LISTENING.set((unsafe { input.as_ptr() } as usize, Complaints::default()));
    let read = packet.read(input);
    let (_, complaints) = LISTENING.take();
    (read, complaints)
}

/// Whether a pixel format has an alpha plane or channel.
pub fn has_alpha(pixel: Pixel) -> bool {
    descriptor_flags(pixel) & ffi::AV_PIX_FMT_FLAG_ALPHA as u64 != 0 || pixel == Pixel::PAL8
}

/// Whether a pixel format holds red, green and blue (no matrix needed).
pub fn is_rgb(pixel: Pixel) -> bool {
    descriptor_flags(pixel) & ffi::AV_PIX_FMT_FLAG_RGB as u64 != 0 || pixel == Pixel::PAL8
}

fn descriptor_flags(pixel: Pixel) -> u64 {
    // SAFETY: the function takes any value and returns null or a pointer to a static table.
    let descriptor = unsafe { ffi::av_pix_fmt_desc_get(pixel.into()) };
    // SAFETY: checked for null; the table lives for the whole process.
    if descriptor.is_null() { 0 } else { unsafe { (*descriptor).flags } }
}

/// Whether timestamps of this container may jump: a clock that was running before the recording began.
pub fn has_discontinuous_timestamps(input: &context::Input) -> bool {
    // SAFETY: an open input has a format for as long as it lives.
    unsafe { (*(*input.as_ptr()).iformat).flags & ffi::AVFMT_TS_DISCONT != 0 }
}

/// Whether this container has no timestamps at all: raw H.264, say.
pub fn has_no_timestamps(input: &context::Input) -> bool {
    // SAFETY: an open input has a format for as long as it lives.
    unsafe { (*(*input.as_ptr()).iformat).flags & ffi::AVFMT_NOTIMESTAMPS != 0 }
}

/// Start of the file, in microseconds; `None` where it does not say.
pub fn start_time(input: &context::Input) -> Option<i64> {
    // SAFETY: an open input's context is valid for as long as it lives.
    let start = unsafe { (*input.as_ptr()).start_time };
    (start != ffi::AV_NOPTS_VALUE).then_some(start)
}

/// Duration of the whole file as its header or its streams' have it, in microseconds; `None` where FFmpeg guesses it.
pub fn promised_duration(input: &context::Input) -> Option<i64> {
    // SAFETY: an open input's context is valid for as long as it lives.
    let is_told = unsafe { (*input.as_ptr()).duration_estimation_method }
        == ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_STREAM;
    known_time(input.duration()).filter(|duration| is_told && *duration > 0)
}

/// A time that FFmpeg may have left unset.
pub fn known_time(value: i64) -> Option<i64> {
    (value != ffi::AV_NOPTS_VALUE).then_some(value)
}

/// Whether a muxer takes a codec, as far as its tables say. One that does not say takes a kind of stream if it has a usual
/// codec for it; the rest is found out when the header is written.
pub fn takes(output: &context::Output, codec: codec::Id) -> bool {
    // SAFETY: an open output has a format, static, for as long as it lives; the functions only read tables.
    unsafe {
        let format = (*output.as_ptr()).oformat;
        match ffi::avformat_query_codec(format, codec.into(), ffi::FF_COMPLIANCE_EXPERIMENTAL) {
            0 => false,
            1 => true,
            _ => {
                let usual = match ffi::avcodec_get_type(codec.into()) {
                    ffi::AVMediaType::AVMEDIA_TYPE_AUDIO => (*format).audio_codec,
                    ffi::AVMediaType::AVMEDIA_TYPE_SUBTITLE => (*format).subtitle_codec,
                    _ => (*format).video_codec,
                };
                usual != ffi::AVCodecID::AV_CODEC_ID_NONE
            }
        }
    }
}

/// Whether a packet is only there so that later ones can be decoded: before the start of a trimmed MP4.
pub fn is_hidden(packet: &ffmpeg::Packet) -> bool {
    // SAFETY: a packet's fields are valid for as long as it lives.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
}

/// A packet's flags, those included that `ffmpeg-next` does not know.
pub fn packet_flags(packet: &ffmpeg::Packet) -> i32 {
    // SAFETY: a packet's fields are valid for as long as it lives.
    unsafe { (*packet.as_ptr()).flags }
}

/// Sets them.
pub fn set_packet_flags(packet: &mut ffmpeg::Packet, flags: i32) {
    // SAFETY: the packet is ours alone; the field is a plain number that no buffer depends on.
    unsafe { (*packet.as_mut_ptr()).flags = flags };
}

/// What a packet brings for the header of the file; mostly nothing.
pub fn new_extradata(packet: &ffmpeg::Packet) -> Vec<u8> {
    let mut side_data = packet.side_data();
    side_data
        .find(|data| data.kind() == SideDataType::NewExtraData)
        .map(|data| data.data().to_vec())
        .unwrap_or_default()
}

/// Has a packet bring something for the header of the file, if it is anything.
///
/// # Errors
/// If there is no memory for it.
pub fn set_new_extradata(packet: &mut ffmpeg::Packet, bytes: &[u8]) -> Result<(), ffmpeg::Error> {
    if bytes.is_empty() {
        return Ok(());
    }
    // SAFETY: the packet is ours alone; the function gives null, or memory of the packet that is as long as asked.
    unsafe {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA;
        let data = ffi::av_packet_new_side_data(packet.as_mut_ptr(), kind, bytes.len());
        if data.is_null() {
            return Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM });
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
    }
    Ok(())
}

/// What an encoder gives for the header of the file.
pub fn extradata(encoder: &codec::encoder::Encoder) -> &[u8] {
    // SAFETY: an open encoder's context is valid for as long as it lives, and so are the bytes that it points to.
    unsafe {
        let context = encoder.as_ptr();
        match usize::try_from((*context).extradata_size) {
            Ok(size) if size > 0 && !(*context).extradata.is_null() => {
                std::slice::from_raw_parts((*context).extradata, size)
            }
            _ => &[],
        }
    }
}

/// Lets a muxer write what FFmpeg still calls experimental: FLAC and Opus in MP4, which players have long known.
pub fn allow_experimental(output: &mut context::Output) {
    // SAFETY: an open output's context is valid for as long as it lives.
    unsafe { (*output.as_mut_ptr()).strict_std_compliance = ffi::FF_COMPLIANCE_EXPERIMENTAL };
}

/// Sets the codec tag of a stream; all zeros leave it to the muxer.
pub fn set_codec_tag(output: &mut context::Output, stream: usize, tag: [u8; 4]) {
    with_stream(output, stream, |stream| {
        // SAFETY: a stream's parameters are allocated with it.
        unsafe { (*(*stream).codecpar).codec_tag = u32::from_le_bytes(tag) };
    });
}

/// Copies what a player uses to choose among streams.
pub fn set_disposition(output: &mut context::Output, stream: usize, disposition: i32) {
    // SAFETY: the closure gets a valid stream.
    with_stream(output, stream, |stream| unsafe { (*stream).disposition = disposition });
}

/// Sets the shape of a pixel on a stream.
pub fn set_sample_aspect_ratio(output: &mut context::Output, stream: usize, ratio: Rational) {
    // SAFETY: the closure gets a valid stream, whose parameters are allocated with it.
    with_stream(output, stream, |stream| unsafe {
        (*stream).sample_aspect_ratio = ratio.into();
        (*(*stream).codecpar).sample_aspect_ratio = ratio.into();
    });
}

fn with_stream(output: &mut context::Output, stream: usize, act: impl FnOnce(*mut ffi::AVStream)) {
    if stream < output.nb_streams() as usize {
        // SAFETY: the index is below nb_streams, so the entry is a valid stream of a context that we borrow mutably.
        act(unsafe { *(*output.as_mut_ptr()).streams.add(stream) });
    }
}

/// Says what shape the pixels of a picture have.
pub fn set_aspect_ratio(picture: &mut ffmpeg::frame::Video, ratio: Rational) {
    // SAFETY: the picture is ours alone; the field is a plain number that no buffer depends on.
    unsafe { (*picture.as_mut_ptr()).sample_aspect_ratio = ratio.into() };
}

/// Width of a stream's pixels over their height as the container says it; `None` where it does not.
pub fn container_aspect_ratio(stream: &ffmpeg::Stream<'_>) -> Option<Rational> {
    // SAFETY: a stream of an open input is valid for as long as that lives.
    let ratio = Rational::from(unsafe { (*stream.as_ptr()).sample_aspect_ratio });
    (ratio.numerator() > 0 && ratio.denominator() > 0).then_some(ratio)
}

/// Whether an input's `AVStream::disposition` marks a cover picture.
pub fn disposition_bits(stream: &ffmpeg::Stream<'_>) -> i32 {
    // SAFETY: the stream belongs to an open input.
    unsafe { (*stream.as_ptr()).disposition }
}

/// Entries in the index of a stream; 0 where there is none.
pub fn index_entries(stream: &ffmpeg::Stream<'_>) -> u64 {
    // SAFETY: the stream belongs to an open input.
    let entries = unsafe { ffi::avformat_index_get_entries_count(stream.as_ptr()) };
    u64::try_from(entries).unwrap_or(0)
}

/// Leaves a stream's packets out while reading.
pub fn discard_stream(input: &mut context::Input, stream: usize) {
    if stream < input.nb_streams() as usize {
        // SAFETY: the index is below nb_streams, so the entry is a valid stream of a context that we borrow mutably.
        unsafe { (*(*(*input.as_mut_ptr()).streams.add(stream))).discard = ffi::AVDiscard::AVDISCARD_ALL };
    }
}

/// Whether an encoder, or every encoder, has an option of this name.
pub fn encoder_has_option(codec: &ffmpeg::Codec, name: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else { return false };
    // SAFETY: with AV_OPT_SEARCH_FAKE_OBJ the object is a pointer to a pointer to an AVClass; both classes are static.
    let has = |class: *const ffi::AVClass| unsafe {
        !class.is_null()
            && !ffi::av_opt_find(
                (&raw const class).cast_mut().cast(),
                name.as_ptr(),
                std::ptr::null(),
                0,
                ffi::AV_OPT_SEARCH_FAKE_OBJ,
            )
            .is_null()
    };
    // SAFETY: a codec's description is static.
    has(unsafe { (*codec.as_ptr()).priv_class }) || has(unsafe { ffi::avcodec_get_class() })
}

/// Puts a frame into a buffer source and keeps it: the chain shares its pixels (see [`make_writable`]).
pub fn put_kept(source: &mut ffmpeg::filter::Context, picture: &ffmpeg::frame::Video) -> Result<(), ffmpeg::Error> {
    // SAFETY: both pointers are valid for the call; the function takes a reference of its own.
    match unsafe { ffi::av_buffersrc_write_frame(source.as_mut_ptr(), picture.as_ptr()) } {
        code if code < 0 => Err(ffmpeg::Error::from(code)),
        _ => Ok(()),
    }
}

/// Gives a frame pixels of its own if somebody still shares them; a copy only then.
pub fn make_writable(picture: &mut ffmpeg::frame::Video) -> Result<(), ffmpeg::Error> {
    // SAFETY: the pointer is a valid frame that we borrow mutably.
    match unsafe { ffi::av_frame_make_writable(picture.as_mut_ptr()) } {
        code if code < 0 => Err(ffmpeg::Error::from(code)),
        _ => Ok(()),
    }
}

/// An output whose blocking reads and writes can be ended from outside.
pub struct InterruptibleOutput {
    // Declared before what it asks: it is closed first.
    /// The output.
    pub output: context::Output,
    _interrupt: Box<Interrupt>,
}

/// Opens `address` for the muxer `format`. While `interrupt` says `true`, what blocks ends with an error.
pub fn open_output(address: &str, format: &str, interrupt: Interrupt) -> Result<InterruptibleOutput, ffmpeg::Error> {
    extern "C" fn ask(opaque: *mut std::ffi::c_void) -> std::ffi::c_int {
        // SAFETY: the pointer is that of the box below, which lives longer than the output.
        let interrupt = unsafe { &*opaque.cast::<Interrupt>() };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| interrupt())).map_or(1, std::ffi::c_int::from)
    }
    let invalid = |_| ffmpeg::Error::Other { errno: ffmpeg::error::EINVAL };
    let address = std::ffi::CString::new(address).map_err(invalid)?;
    let format = std::ffi::CString::new(format).map_err(invalid)?;
    let interrupt = Box::new(interrupt);
    let mut context = std::ptr::null_mut();
    // SAFETY: the strings end with a zero; the function sets the context or says why not.
    match unsafe {
        ffi::avformat_alloc_output_context2(&raw mut context, std::ptr::null(), format.as_ptr(), address.as_ptr())
    } {
        code if code < 0 => return Err(ffmpeg::Error::from(code)),
        _ => {}
    }
    let callback = ffi::AVIOInterruptCB { callback: Some(ask), opaque: (&raw const *interrupt).cast_mut().cast() };
    // SAFETY: the context was just made, and is freed here or owned by the output.
    unsafe {
        (*context).interrupt_callback = callback;
        let (pb, flags) = (&raw mut (*context).pb, ffi::AVIO_FLAG_WRITE);
        match ffi::avio_open2(pb, address.as_ptr(), flags, &raw const callback, std::ptr::null_mut()) {
            code if code < 0 => {
                ffi::avformat_free_context(context);
                Err(ffmpeg::Error::from(code))
            }
            _ => Ok(InterruptibleOutput { output: context::Output::wrap(context), _interrupt: interrupt }),
        }
    }
}
