//! A squarified treemap: rectangles whose areas are proportional to values, and whose shapes are close to squares.
//!
//! Implements the algorithm of Bruls, Huizing and van Wijk (Squarified Treemaps, 2000).

/// A rectangle in the units of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rectangle {
    fn shortest_side(self) -> f64 {
        self.width.min(self.height)
    }
}

/// Divides a rectangle of `width` and `height` among `values`, which are positive and in descending order. Returns one
/// rectangle for each, in the same order.
pub(crate) fn squarify(values: &[f64], width: f64, height: f64) -> Vec<Rectangle> {
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let scale = width * height / total;
    let areas: Vec<f64> = values.iter().map(|value| value * scale).collect();
    let mut free = Rectangle {
        x: 0.0,
        y: 0.0,
        width,
        height,
    };
    let mut rectangles = Vec::with_capacity(areas.len());
    let mut rest = areas.as_slice();
    while !rest.is_empty() {
        let side = free.shortest_side();
        // The row grows as long as its worst shape becomes better.
        let mut length = 1;
        while length < rest.len() && worst(&rest[..=length], side) <= worst(&rest[..length], side) {
            length += 1;
        }
        let (row, others) = rest.split_at(length);
        place(row, &mut free, &mut rectangles);
        rest = others;
    }
    rectangles
}

/// Returns the largest ratio of the sides of the rectangles in `row` along `side`.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let (largest, smallest) = (row[0], row[row.len() - 1]);
    let (side, sum) = (side * side, sum * sum);
    (side * largest / sum).max(sum / (side * smallest))
}

/// Places `row` along the shorter side of `free`, and takes its space away.
fn place(row: &[f64], free: &mut Rectangle, rectangles: &mut Vec<Rectangle>) {
    let sum: f64 = row.iter().sum();
    let side = free.shortest_side();
    let depth = if side > 0.0 { sum / side } else { 0.0 };
    let mut offset = 0.0;
    let is_column = free.width >= free.height;
    for area in row {
        let length = if depth > 0.0 { area / depth } else { 0.0 };
        rectangles.push(if is_column {
            Rectangle {
                x: free.x,
                y: free.y + offset,
                width: depth,
                height: length,
            }
        } else {
            Rectangle {
                x: free.x + offset,
                y: free.y,
                width: length,
                height: depth,
            }
        });
        offset += length;
    }
    if is_column {
        free.x += depth;
        free.width = (free.width - depth).max(0.0);
    } else {
        free.y += depth;
        free.height = (free.height - depth).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(rectangle: &Rectangle) -> f64 {
        rectangle.width * rectangle.height
    }

    #[test]
    fn areas_are_proportional_and_fill_the_whole() {
        let values = [6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0];
        let rectangles = squarify(&values, 6.0, 4.0);
        for (value, rectangle) in values.iter().zip(&rectangles) {
            assert!((area(rectangle) - value).abs() < 1e-9, "{rectangle:?}");
            assert!(rectangle.x >= 0.0 && rectangle.x + rectangle.width <= 6.0 + 1e-9);
            assert!(rectangle.y >= 0.0 && rectangle.y + rectangle.height <= 4.0 + 1e-9);
        }
        let total: f64 = rectangles.iter().map(area).sum();
        assert!((total - 24.0).abs() < 1e-9);
        // The example of the paper: the first row has two rectangles of 3 by 2.
        let expected = Rectangle {
            x: 0.0,
            y: 2.0,
            width: 3.0,
            height: 2.0,
        };
        assert_eq!(rectangles[1], expected);
    }

    #[test]
    fn rectangles_do_not_overlap() {
        let values: Vec<f64> = (1..60_u32)
            .rev()
            .map(|value| f64::from(value * value))
            .collect();
        let rectangles = squarify(&values, 1000.0, 420.0);
        for (index, one) in rectangles.iter().enumerate() {
            for other in &rectangles[index + 1..] {
                let width = (one.x + one.width).min(other.x + other.width) - one.x.max(other.x);
                let height = (one.y + one.height).min(other.y + other.height) - one.y.max(other.y);
                assert!(width < 1e-6 || height < 1e-6, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn nothing_has_no_rectangles() {
        assert_eq!(squarify(&[], 10.0, 10.0), []);
        assert_eq!(squarify(&[0.0], 10.0, 10.0), []);
    }
}
