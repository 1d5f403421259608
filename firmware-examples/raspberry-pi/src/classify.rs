//! Pictures to classes, on all cores.

use crate::arguments::Arguments;
use crate::in_order::in_order;
use crate::latency::{Latencies, Times};
use crate::screen::{Screen, line};
use crate::{camera, files, image};
use skipstone_runtime::Engine;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A class and its probability.
pub(crate) type Class = (usize, f64);

/// What an engine made of a picture.
pub(crate) struct Classified {
    /// The likeliest first.
    pub(crate) top: Vec<Class>,
    pub(crate) times: Times,
}

/// Classifies files and folders and prints a line for each image, in their order.
///
/// # Errors
/// A folder has no images, or some could not be classified: each is named on standard error, and the rest goes on.
pub(crate) fn images(engines: Vec<Engine<'_, '_>>, paths: &[PathBuf], top: usize) -> Result<(), String> {
    let files = files::images(paths)?;
    let count = files.len();
    let screen = Screen::new(&engines);
    let (mut latencies, mut failed) = (Latencies::new(), 0);
    let classify = |engine: &mut Engine<'_, '_>, file: PathBuf| {
        let begin = Instant::now();
        let all = image::read(&file, engine.model());
        let all = all.and_then(|all| all.iter().map(|pixels| run(engine, pixels, begin, top)).collect());
        (file, all)
    };
    let end = in_order(files.into_iter(), engines, classify, |(file, all): (PathBuf, Result<Vec<_>, String>)| {
        let all = all.unwrap_or_else(|reason| {
            eprintln!("error: {}: {reason}", file.display());
            failed += 1;
            Vec::new()
        });
        let several = all.len() > 1;
        for (index, Classified { top, times }) in all.into_iter().enumerate() {
            latencies.add(times);
            let part = if several { format!(" {index}") } else { String::new() };
            screen.print(&line(&format!("{}{part}", file.display()), &top, &screen.names))?;
        }
        ControlFlow::Continue(())
    });
    unbroken(end)?;
    screen.summary("images", &latencies);
    if failed > 0 { Err(format!("{failed} of {count} files could not be classified")) } else { Ok(()) }
}

/// Classifies a camera's frames until it ends, or as many as the command line says, and shows them in their order.
///
/// # Errors
/// The camera is absent or fails, or gives no frame that can be decoded.
pub(crate) fn frames(engines: Vec<Engine<'_, '_>>, source: &Path, arguments: &Arguments) -> Result<(), String> {
    let frames = camera::open(source, arguments.size)?.take(arguments.frames.unwrap_or(usize::MAX));
    let mut screen = Screen::new(&engines);
    let (mut latencies, mut damaged) = (Latencies::new(), Vec::new());
    let classify = |engine: &mut Engine<'_, '_>, frame: Result<camera::Frame, String>| {
        frame.map(|frame| {
            let pixels = frame.decode().and_then(|picture| image::prepare(&picture, engine.model()))?;
            run(engine, &pixels, frame.taken, arguments.top)
        })
    };
    let end = in_order(frames, engines, classify, |frame| match frame {
        Ok(Ok(Classified { top, times })) => {
            latencies.add(times);
            screen.frame(latencies.count() + damaged.len() - 1, &top, &latencies)
        }
        // The next frame of a camera is as good.
        Ok(Err(reason)) => {
            damaged.push(reason);
            ControlFlow::Continue(())
        }
        Err(reason) => ControlFlow::Break(format!("{}: {reason}", source.display())),
    });
    unbroken(end)?;
    match (latencies.count(), damaged.last()) {
        (0, None) => return Err(format!("{}: no frames", source.display())),
        (0, Some(reason)) => {
            return Err(format!("{}: none of {} frames could be decoded: {reason}", source.display(), damaged.len()));
        }
        (_, None) => {}
        (_, Some(reason)) => eprintln!("warning: {} frames could not be decoded: {reason}", damaged.len()),
    }
    screen.summary("frames", &latencies);
    Ok(())
}

fn unbroken(end: ControlFlow<String>) -> Result<(), String> {
    match end {
        ControlFlow::Break(reason) => Err(reason),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Classifies pixels that came to be in a moment from `begin` to now.
fn run(engine: &mut Engine<'_, '_>, pixels: &[u8], begin: Instant, top: usize) -> Result<Classified, String> {
    let ready = Instant::now();
    engine.run(pixels).map_err(|error| error.to_string())?;
    let times = Times { whole: begin.elapsed(), inference: ready.elapsed() };
    Ok(Classified { top: likeliest(engine.scores(), engine.model().output().scale, top), times })
}

/// The classes with the highest scores and their softmax; of equal scores the first class comes first.
fn likeliest(scores: &[i8], scale: f32, top: usize) -> Vec<Class> {
    let best = scores.iter().copied().max().unwrap_or_default();
    let power = |score: i8| (f64::from(i16::from(score) - i16::from(best)) * f64::from(scale)).exp();
    let sum: f64 = scores.iter().map(|&score| power(score)).sum();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(scores[class]));
    order.into_iter().take(top).map(|class| (class, power(scores[class]) / sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_classes_come_first_with_their_softmax() {
        let top = likeliest(&[-128, 10, 127, 10], 0.01, 3);
        assert_eq!(top.iter().map(|class| class.0).collect::<Vec<_>>(), [2, 1, 3]);
        let sum = 1.0 + 2.0 * (-1.17f64).exp() + (-2.55f64).exp();
        assert!((top[0].1 - 1.0 / sum).abs() < 1e-6 && (top[1].1 - (-1.17f64).exp() / sum).abs() < 1e-6, "{top:?}");
        assert_eq!(likeliest(&[3], 1.0, 5), [(0, 1.0)]);
    }
}
