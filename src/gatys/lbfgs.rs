//! L-BFGS: Nocedal and Wright, Numerical Optimization, 2nd edition, Algorithm 7.4 (two loops over the history) and
//! Algorithm 3.1 (backtracking until the loss falls enough, Armijo's rule), which almost always takes the first step and
//! so needs one gradient a step.
//!
//! The optimizer asks and is told: it holds the point at which it wants loss and gradient next.

use std::collections::VecDeque;

/// How a minimum is approached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LbfgsSettings {
    /// Steps that are remembered (default 20, the most that Nocedal and Wright recommend); each holds two pictures in memory.
    pub history: usize,
    /// Length of the first step, before anything is known of the curvature, in the largest change of an element
    /// (default 0.05: a twentieth of the range of a pixel).
    pub first_step: f32,
}

impl Default for LbfgsSettings {
    fn default() -> Self {
        Self { history: 20, first_step: 0.05 }
    }
}

/// Share of the expected fall that a step must bring.
const SUFFICIENT_FALL: f64 = 1e-4;
/// By how much a step that brings too little is shortened.
const SHORTENING: f32 = 0.5;
/// A step that was shortened so often leads nowhere: the history is forgotten.
const MOST_SHORTENINGS: usize = 12;
/// Curvature below this share of ‖s‖·‖y‖ says nothing.
const LEAST_CURVATURE: f64 = 1e-10;

struct Pair {
    /// Change of the point.
    s: Vec<f32>,
    /// Change of the gradient.
    y: Vec<f32>,
    /// 1 / ⟨y, s⟩.
    rho: f64,
}

/// The state of a minimization.
pub struct Lbfgs {
    settings: LbfgsSettings,
    pairs: VecDeque<Pair>,
    /// The best point so far, its loss and its gradient.
    point: Vec<f32>,
    loss: f64,
    gradient: Vec<f32>,
    /// Where loss and gradient are wanted.
    trial: Vec<f32>,
    direction: Vec<f32>,
    /// ⟨gradient, direction⟩, negative.
    slope: f64,
    step: f32,
    shortenings: usize,
    has_started: bool,
}

impl Lbfgs {
    /// Starts at `point`.
    pub fn new(point: Vec<f32>, settings: LbfgsSettings) -> Self {
        let length = point.len();
        Self {
            settings,
            pairs: VecDeque::new(),
            trial: point.clone(),
            point,
            loss: f64::INFINITY,
            gradient: vec![0.0; length],
            direction: vec![0.0; length],
            slope: 0.0,
            step: 1.0,
            shortenings: 0,
            has_started: false,
        }
    }

    /// Where loss and gradient are wanted next.
    pub fn trial(&self) -> &[f32] {
        &self.trial
    }

    /// The best point so far.
    pub fn point(&self) -> &[f32] {
        &self.point
    }

    /// Takes loss and gradient at [`Lbfgs::trial`]; says whether that became the best point. A loss that is no number
    /// counts as one that did not fall.
    pub fn tell(&mut self, loss: f32, gradient: &[f32]) -> bool {
        let loss = f64::from(loss);
        if !self.has_started {
            self.has_started = true;
            self.loss = loss;
            self.gradient.copy_from_slice(gradient);
            self.start_along_gradient();
            return true;
        }
        let enough = self.loss + SUFFICIENT_FALL * f64::from(self.step) * self.slope;
        let is_taken = loss <= enough;
        if is_taken {
            self.remember(gradient);
            self.point.copy_from_slice(&self.trial);
            self.gradient.copy_from_slice(gradient);
            self.loss = loss;
            self.start_along_direction();
        } else if self.shortenings < MOST_SHORTENINGS {
            self.shortenings += 1;
            self.step *= SHORTENING;
            self.move_trial();
        } else {
            self.start_along_gradient();
            self.step *= SHORTENING.powi(MOST_SHORTENINGS as i32);
            self.move_trial();
        }
        is_taken
    }

    fn start_along_gradient(&mut self) {
        self.pairs.clear();
        self.shortenings = 0;
        self.direction.iter_mut().zip(&self.gradient).for_each(|(direction, gradient)| *direction = -gradient);
        let largest = self.gradient.iter().fold(0.0f32, |largest, gradient| largest.max(gradient.abs()));
        self.step = if largest > 0.0 { self.settings.first_step / largest } else { 0.0 };
        self.slope = dot(&self.gradient, &self.direction);
        self.move_trial();
    }

    fn remember(&mut self, gradient: &[f32]) {
        let recycled = if self.pairs.len() >= self.settings.history.max(1) { self.pairs.pop_front() } else { None };
        let (mut s, mut y) = recycled.map_or_else(|| (Vec::new(), Vec::new()), |pair| (pair.s, pair.y));
        s.clear();
        s.extend(self.trial.iter().zip(&self.point).map(|(after, before)| after - before));
        y.clear();
        y.extend(gradient.iter().zip(&self.gradient).map(|(after, before)| after - before));
        let curvature = dot(&s, &y);
        if curvature > LEAST_CURVATURE * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            self.pairs.push_back(Pair { s, y, rho: 1.0 / curvature });
        }
    }

    fn start_along_direction(&mut self) {
        let Self { pairs, gradient, direction, .. } = self;
        let Some(last) = pairs.back() else { return self.start_along_gradient() };
        direction.copy_from_slice(gradient);
        let mut alphas = vec![0.0; pairs.len()];
        for (pair, alpha) in pairs.iter().zip(&mut alphas).rev() {
            *alpha = pair.rho * dot(&pair.s, direction);
            add_scaled(direction, -*alpha as f32, &pair.y);
        }
        let scale = (1.0 / (last.rho * dot(&last.y, &last.y))) as f32;
        direction.iter_mut().for_each(|element| *element *= scale);
        for (pair, alpha) in pairs.iter().zip(&alphas) {
            let beta = pair.rho * dot(&pair.y, direction);
            add_scaled(direction, (alpha - beta) as f32, &pair.s);
        }
        direction.iter_mut().for_each(|element| *element = -*element);
        self.slope = dot(&self.gradient, &self.direction);
        if self.slope.is_nan() || self.slope >= 0.0 {
            return self.start_along_gradient();
        }
        self.step = 1.0;
        self.shortenings = 0;
        self.move_trial();
    }

    fn move_trial(&mut self) {
        self.trial.copy_from_slice(&self.point);
        add_scaled(&mut self.trial, self.step, &self.direction);
    }
}

impl std::fmt::Debug for Lbfgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lbfgs").field("loss", &self.loss).field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

/// Products are summed in `f32` over so many elements, and those sums in `f64`.
const BLOCK: usize = 4096;
const LANES: usize = 16;

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let block = |a: &[f32], b: &[f32]| {
        let mut lanes = [0.0f32; LANES];
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        f64::from(lanes.iter().sum::<f32>() + rest)
    };
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|(a, b)| block(a, b)).sum()
}

/// a + `factor`·b, into a.
fn add_scaled(a: &mut [f32], factor: f32, b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimize(start: &[f32], steps: usize, function: impl Fn(&[f32]) -> (f32, Vec<f32>)) -> (Lbfgs, usize) {
        let mut lbfgs = Lbfgs::new(start.to_vec(), LbfgsSettings { history: 10, ..LbfgsSettings::default() });
        let mut taken = 0;
        for _ in 0..steps {
            let (loss, gradient) = function(lbfgs.trial());
            taken += usize::from(lbfgs.tell(loss, &gradient));
        }
        (lbfgs, taken)
    }

    #[test]
    fn a_valley_that_bends_is_followed_to_its_end() {
        // Rosenbrock 1960.
        let (lbfgs, _) = minimize(&[-1.2, 1.0], 120, |x| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        });
        assert!((lbfgs.point()[0] - 1.0).abs() < 1e-2 && (lbfgs.point()[1] - 1.0).abs() < 2e-2, "{:?}", lbfgs.point());
    }

    #[test]
    fn on_a_bowl_almost_every_gradient_is_a_step() {
        let (lbfgs, taken) = minimize(&[1.0; 50], 40, |x| {
            let curvature = |index: usize| 1.0 + index as f32;
            let loss = x.iter().enumerate().map(|(index, x)| 0.5 * curvature(index) * x * x).sum();
            (loss, x.iter().enumerate().map(|(index, x)| curvature(index) * x).collect())
        });
        assert!(lbfgs.loss < 1e-4, "{}", lbfgs.loss);
        assert!(taken >= 34, "{taken} of 40");
    }

    #[test]
    fn a_loss_that_is_no_number_is_walked_around() {
        let (lbfgs, _) =
            minimize(&[3.0], 60, |x| if x[0] < 0.5 { (f32::NAN, vec![f32::NAN]) } else { (x[0], vec![1.0]) });
        assert!((0.5..0.7).contains(&lbfgs.point()[0]), "{:?}", lbfgs.point());
        assert!(lbfgs.loss.is_finite());
    }

    #[test]
    fn products_of_long_vectors_are_exact_enough() {
        let (a, b) = (vec![0.1f32; 100_003], vec![0.3f32; 100_003]);
        assert!((dot(&a, &b) - 100_003.0 * 0.03).abs() < 1e-2);
    }
}
