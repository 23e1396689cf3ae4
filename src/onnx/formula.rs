//! The operators by name, so that a formula in code reads like one on paper.

use super::builder::{Attribute, GraphBuilder, Value};
use super::shape::Window;

/// Which axes of a picture `[batch, channels, height, width]` are its plane.
const PLANE: [i64; 2] = [2, 3];

impl GraphBuilder {
    /// a + b; like all operators of two values here, dimensions of length 1 are repeated.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.push("Add", &[a, b], &[])
    }

    /// a − b.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.push("Sub", &[a, b], &[])
    }

    /// a · b, element by element.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.push("Mul", &[a, b], &[])
    }

    /// a / b, element by element.
    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.push("Div", &[a, b], &[])
    }

    /// a · `factor`.
    pub fn scale(&mut self, a: &Value, factor: f32) -> Value {
        let factor = self.scalar(factor);
        self.mul(a, &factor)
    }

    /// a + `term`.
    pub fn shift(&mut self, a: &Value, term: f32) -> Value {
        let term = self.scalar(term);
        self.add(a, &term)
    }

    /// a².
    pub fn square(&mut self, a: &Value) -> Value {
        self.mul(a, a)
    }

    /// √a.
    pub fn sqrt(&mut self, a: &Value) -> Value {
        self.push("Sqrt", &[a], &[])
    }

    /// |a|.
    pub fn abs(&mut self, a: &Value) -> Value {
        self.push("Abs", &[a], &[])
    }

    /// −1, 0 or 1.
    pub fn sign(&mut self, a: &Value) -> Value {
        self.push("Sign", &[a], &[])
    }

    /// max(a, 0).
    pub fn relu(&mut self, a: &Value) -> Value {
        self.push("Relu", &[a], &[])
    }

    /// a held between `low` and `high`.
    pub fn clip(&mut self, a: &Value, low: f32, high: f32) -> Value {
        let (low, high) = (self.scalar(low), self.scalar(high));
        self.push("Clip", &[a, &low, &high], &[])
    }

    /// The product of matrices, batch by batch where there are more than two dimensions.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.push("MatMul", &[a, b], &[])
    }

    /// Dimensions in another order.
    pub fn transpose(&mut self, a: &Value, order: &[usize]) -> Value {
        let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        self.push("Transpose", &[a], &[Attribute::Ints("perm", &order)])
    }

    /// Rows and columns of matrices exchanged.
    pub fn transpose_matrix(&mut self, a: &Value) -> Value {
        let mut order: Vec<usize> = (0..a.shape.len()).collect();
        let rank = order.len();
        if rank >= 2 {
            order.swap(rank - 2, rank - 1);
        }
        self.transpose(a, &order)
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, a: &Value, shape: &[usize]) -> Value {
        if a.shape == shape {
            return a.clone();
        }
        let shape = self.lengths(shape);
        self.push("Reshape", &[a, &shape], &[])
    }

    /// Repeated along dimensions of length 1 until it has this shape.
    pub fn expand(&mut self, a: &Value, shape: &[usize]) -> Value {
        if a.shape == shape {
            return a.clone();
        }
        let shape = self.lengths(shape);
        self.push("Expand", &[a, &shape], &[])
    }

    /// The sum over axes, which keep length 1.
    pub fn sum_over(&mut self, a: &Value, axes: &[usize]) -> Value {
        if axes.is_empty() {
            return a.clone();
        }
        let axes = self.lengths(axes);
        self.push("ReduceSum", &[a, &axes], &[Attribute::Int("keepdims", 1)])
    }

    /// The sum of all elements, a scalar.
    pub fn sum(&mut self, a: &Value) -> Value {
        self.reduce_all("ReduceSum", a)
    }

    /// The mean of all elements, a scalar.
    pub fn mean(&mut self, a: &Value) -> Value {
        self.reduce_all("ReduceMean", a)
    }

    fn reduce_all(&mut self, operator: &str, a: &Value) -> Value {
        let axes: Vec<usize> = (0..a.shape.len()).collect();
        let axes = self.lengths(&axes);
        self.push(operator, &[a, &axes], &[Attribute::Int("keepdims", 0)])
    }

    /// The mean of a², a scalar.
    pub fn mean_square(&mut self, a: &Value) -> Value {
        let square = self.square(a);
        self.mean(&square)
    }

    /// The mean over height and width of pictures, which keep length 1.
    pub fn plane_mean(&mut self, a: &Value) -> Value {
        let axes = self.integers(&PLANE);
        self.push("ReduceMean", &[a, &axes], &[Attribute::Int("keepdims", 1)])
    }

    /// A convolution of pictures `[n, c, h, w]` with weights `[m, c, kernel…]`, and `[m]` added.
    pub fn conv(&mut self, image: &Value, weight: &Value, bias: Option<&Value>, window: Window) -> Value {
        let inputs: Vec<&Value> = [image, weight].into_iter().chain(bias).collect();
        self.push_window("Conv", &inputs, window)
    }

    /// The mean of each window.
    pub fn average_pool(&mut self, image: &Value, window: Window) -> Value {
        self.push_window("AveragePool", &[image], window)
    }

    /// The largest of each window.
    pub fn max_pool(&mut self, image: &Value, window: Window) -> Value {
        self.push_window("MaxPool", &[image], window)
    }

    fn push_window(&mut self, operator: &str, inputs: &[&Value], window: Window) -> Value {
        let ints = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
        let (kernel, stride, padding) = (ints(&window.kernel), ints(&window.stride), ints(&window.padding));
        let attributes = [
            Attribute::Ints("kernel_shape", &kernel),
            Attribute::Ints("strides", &stride),
            Attribute::Ints("pads", &padding),
        ];
        self.push(operator, inputs, &attributes)
    }

    /// Each pixel repeated `factor` times in both directions.
    pub fn repeat_pixels(&mut self, image: &Value, factor: [usize; 2]) -> Value {
        if factor == [1, 1] {
            return image.clone();
        }
        let scales = self.constant(&[4], &[1.0, 1.0, factor[0] as f32, factor[1] as f32]);
        let nothing = Value { name: String::new(), shape: Vec::new() };
        let attributes = [
            Attribute::Text("mode", "nearest"),
            Attribute::Text("coordinate_transformation_mode", "asymmetric"),
            Attribute::Text("nearest_mode", "floor"),
        ];
        self.push("Resize", &[image, &nothing, &scales], &attributes)
    }

    /// Pictures stretched to another height and width, between the centers of their pixels.
    pub fn stretch(&mut self, image: &Value, size: [usize; 2]) -> Value {
        let [batch, channels] = [0, 1].map(|axis| image.shape.get(axis).copied().unwrap_or_default());
        let sizes = self.lengths(&[batch, channels, size[0], size[1]]);
        let nothing = Value { name: String::new(), shape: Vec::new() };
        let attributes =
            [Attribute::Text("mode", "linear"), Attribute::Text("coordinate_transformation_mode", "half_pixel")];
        self.push("Resize", &[image, &nothing, &nothing, &sizes], &attributes)
    }

    /// Pictures `[n, c, h, w]` at `places` `[n, h, w, 2]`, x and y from −1 (the center of the first pixel) to 1 (that of the last), by
    /// cubic convolution (Keys 1981, a = −0.75); the border goes on outside. It has no gradient.
    pub fn sample(&mut self, image: &Value, places: &Value) -> Value {
        let attributes = [
            Attribute::Text("mode", "bicubic"),
            Attribute::Text("padding_mode", "border"),
            Attribute::Int("align_corners", 1),
        ];
        self.push("GridSample", &[image, places], &attributes)
    }

    /// Elements added before and after each dimension; `mode` is constant (zeros), reflect or edge. Negative numbers of
    /// elements cut away.
    pub fn pad(&mut self, a: &Value, before: &[i64], after: &[i64], mode: &str) -> Value {
        if before.iter().chain(after).all(|&count| count == 0) {
            return a.clone();
        }
        let pads = self.integers(&[before, after].concat());
        self.push("Pad", &[a, &pads], &[Attribute::Text("mode", mode)])
    }

    /// The elements from `start` up to `end` along one axis.
    pub fn slice(&mut self, a: &Value, axis: usize, start: usize, end: usize) -> Value {
        self.slice_by(a, axis, [start as i64, end as i64, 1])
    }

    /// The elements along one axis in reverse order.
    pub fn reverse(&mut self, a: &Value, axis: usize) -> Value {
        self.slice_by(a, axis, [-1, i64::MIN, -1])
    }

    /// Every so many elements (`step`, the last of the three numbers) from `start` up to `end` along one axis.
    pub fn slice_by(&mut self, a: &Value, axis: usize, [start, end, step]: [i64; 3]) -> Value {
        let [start, end, step] = [start, end, step].map(|value| self.integers(&[value]));
        let axis = self.integers(&[axis as i64]);
        self.push("Slice", &[a, &start, &end, &axis, &step], &[])
    }

    /// Whether a is less than b.
    pub fn is_less(&mut self, a: &Value, b: &Value) -> Value {
        self.push("Less", &[a, b], &[])
    }

    /// `a` where `condition` holds, else `b`.
    pub fn select(&mut self, condition: &Value, a: &Value, b: &Value) -> Value {
        self.push("Where", &[condition, a, b], &[])
    }

    /// Values one behind another along an axis. It has no gradient.
    pub fn concat(&mut self, parts: &[&Value], axis: usize) -> Value {
        self.push("Concat", parts, &[Attribute::Int("axis", axis as i64)])
    }

    /// The same value, which gradients take for a constant.
    pub fn detach(&mut self, a: &Value) -> Value {
        let detached = self.push("Identity", &[a], &[]);
        self.detached.insert(detached.name.clone());
        detached
    }

    fn lengths(&mut self, lengths: &[usize]) -> Value {
        let lengths: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
        self.integers(&lengths)
    }
}
