//! Charts and maps as SVG.

use std::path::Path;

use svg::{
    Document,
    node::element::{Circle, Group, Line, Polyline, Rectangle, Text},
};

use crate::exit::Failure;

/// The size of a panel, and the room around what is drawn in it, in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Colours that are told apart also by those who see fewer of them (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// The room that a name has on a map.
const LABEL_WIDTH: f64 = 150.0;
const LABEL_HEIGHT: f64 = 14.0;
/// About so many ticks on an axis.
const TICKS: f64 = 5.0;

/// One direction of a chart.
#[derive(Clone, Debug, Default)]
pub(super) struct Axis {
    pub(super) name: String,
    /// Whether each step is ten times the last one. What is not above zero is not drawn.
    pub(super) log: bool,
    /// Where to write what; chosen if empty.
    pub(super) ticks: Vec<(f64, String)>,
}

/// One line of a chart.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// What is written beside each point; nothing where it is shorter.
    pub(super) labels: Vec<String>,
    /// Whether only the points are drawn, and no line from each to the next.
    pub(super) apart: bool,
}

/// Lines over two axes.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// A region on a map.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) name: String,
    pub(super) at: [f64; 2],
    /// What it does; the first one gives the colour.
    pub(super) roles: Vec<Role>,
}

impl Spot {
    /// Whether it does something, and is not only allowed to.
    fn takes_part(&self) -> bool {
        self.roles.iter().any(|role| *role != Role::Allowed)
    }
}

/// What a region does in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Coordinator,
    Serves,
    Copy,
    Client,
    /// It may take part and does not.
    Allowed,
}

impl Role {
    const ALL: [Self; 5] =
        [Self::Coordinator, Self::Serves, Self::Copy, Self::Client, Self::Allowed];

    fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Serves => "serves",
            Self::Copy => "copy",
            Self::Client => "client",
            Self::Allowed => "allowed",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Coordinator => COLOURS[1],
            Self::Serves => COLOURS[0],
            Self::Copy => COLOURS[5],
            Self::Client => COLOURS[2],
            Self::Allowed => "#777777",
        }
    }
}

/// A way between two spots.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) label: String,
    /// Whether the client does not wait for it.
    pub(super) later: bool,
}

/// Regions and ways between them.
#[derive(Clone, Debug)]
pub(super) struct MapDrawing {
    pub(super) title: String,
    pub(super) spots: Vec<Spot>,
    pub(super) ways: Vec<Way>,
}

/// The least and the greatest of some numbers, never the same.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    if !least.is_finite() {
        (0.0, 1.0)
    } else if most - least < 1e-12 {
        (least - 0.5, most + 0.5)
    } else {
        (least, most)
    }
}

/// A number with as many digits as its size asks for.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(at: (f64, f64), anchor: &str, size: u32, content: &str) -> Text {
    Text::new(content)
        .set("x", pixel(at.0))
        .set("y", pixel(at.1))
        .set("text-anchor", anchor)
        .set("font-size", size)
}

/// Tenths of a pixel are enough, and make the file the same on each machine.
fn pixel(value: f64) -> String {
    format!("{value:.1}")
}

fn line(from: (f64, f64), to: (f64, f64), colour: &str) -> Line {
    Line::new()
        .set("x1", pixel(from.0))
        .set("y1", pixel(from.1))
        .set("x2", pixel(to.0))
        .set("y2", pixel(to.1))
        .set("stroke", colour)
}

/// Where numbers are on an axis.
struct Scale {
    log: bool,
    from: f64,
    to: f64,
    begin: f64,
    end: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, (begin, end): (f64, f64)) -> Self {
        let drawn = values.filter(|value| value.is_finite() && (!axis.log || *value > 0.0));
        let drawn = drawn.map(|value| if axis.log { value.log10() } else { value });
        let (least, most) = span(drawn);
        let room = (most - least) * 0.06;
        let (from, to) =
            if axis.log { (least.floor(), most.ceil()) } else { (least - room, most + room) };
        Self { log: axis.log, from, to: if to > from { to } else { from + 1.0 }, begin, end }
    }

    /// `None` for what has no place.
    fn at(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        let share = (value - self.from) / (self.to - self.from);
        share.is_finite().then_some(self.begin + share * (self.end - self.begin))
    }

    fn ticks(&self, axis: &Axis) -> Vec<(f64, String)> {
        if !axis.ticks.is_empty() {
            return axis.ticks.clone();
        }
        if self.log {
            let powers = self.from as i32..=self.to as i32;
            return powers.map(|power| 10_f64.powi(power)).map(|x| (x, short(x))).collect();
        }
        let rough = (self.to - self.from) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|s| *s >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        (first..=last).map(|at| at as f64 * step).map(|x| (x, short(x))).collect()
    }
}

/// Draws a chart.
pub(super) fn chart(chart: &Chart) -> Group {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let right = WIDTH - RIGHT;
    let x = Scale::new(&chart.x, points().map(|point| point.0), (LEFT, right));
    let y = Scale::new(&chart.y, points().map(|point| point.1), (HEIGHT - BOTTOM, TOP));
    let mut group = Group::new().add(text((LEFT, 30.0), "start", 18, &chart.title));
    for (at, label) in x.ticks(&chart.x) {
        let Some(at) = x.at(at) else { continue };
        group = group.add(line((at, TOP), (at, HEIGHT - BOTTOM), "#dddddd")).add(text(
            (at, HEIGHT - BOTTOM + 18.0),
            "middle",
            12,
            &label,
        ));
    }
    for (at, label) in y.ticks(&chart.y) {
        let Some(at) = y.at(at) else { continue };
        group = group.add(line((LEFT, at), (right, at), "#dddddd")).add(text(
            (LEFT - 6.0, at + 4.0),
            "end",
            12,
            &label,
        ));
    }
    let middle = (LEFT + right) / 2.0;
    group = group.add(text((middle, HEIGHT - 20.0), "middle", 14, &chart.x.name)).add(text(
        (LEFT, TOP - 6.0),
        "start",
        14,
        &chart.y.name,
    ));
    let series = chart.series.iter().enumerate();
    series.fold(group, |group, (index, one)| group.add(draw_series(one, index, &x, &y)))
}

fn draw_series(series: &Series, index: usize, x: &Scale, y: &Scale) -> Group {
    let colour = COLOURS[index % COLOURS.len()];
    let places = series.points.iter().map(|point| Some((x.at(point.0)?, y.at(point.1)?)));
    let places: Vec<_> = places.collect();
    let path: Vec<_> = places.iter().flatten().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let line = Polyline::new().set("points", path.join(" ")).set("fill", "none");
    let line = line.set("stroke", if series.apart { "none" } else { colour });
    let mut group = Group::new().add(line.set("stroke-width", 2));
    for (at, place) in places.iter().enumerate() {
        let Some((x, y)) = *place else { continue };
        let dot = Circle::new().set("cx", pixel(x)).set("cy", pixel(y)).set("r", 4);
        group = group.add(dot.set("fill", colour));
        if let Some(label) = series.labels.get(at) {
            group = group.add(text((x + 7.0, y - 6.0), "start", 12, label));
        }
    }
    let (at, top) = (WIDTH - RIGHT + 20.0, TOP + 20.0 * index as f64);
    group.add(mark((at, top), colour)).add(text((at + 18.0, top + 10.0), "start", 13, &series.name))
}

/// What stands before a name in the legend.
fn mark(at: (f64, f64), colour: &str) -> Rectangle {
    let square = Rectangle::new().set("width", 12).set("height", 12).set("fill", colour);
    square.set("x", pixel(at.0)).set("y", pixel(at.1))
}

/// Draws a map.
pub(super) fn map(map: &MapDrawing) -> Group {
    let (low_x, high_x) = span(map.spots.iter().map(|spot| spot.at[0]));
    let (low_y, high_y) = span(map.spots.iter().map(|spot| spot.at[1]));
    let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    // Both directions have one scale.
    let scale = (wide / (high_x - low_x)).min(high / (high_y - low_y));
    let at = |spot: &Spot| {
        let x = LEFT + wide / 2.0 + (spot.at[0] - (low_x + high_x) / 2.0) * scale;
        (x, TOP + high / 2.0 - (spot.at[1] - (low_y + high_y) / 2.0) * scale)
    };
    let mut group = Group::new().add(text((LEFT, 30.0), "start", 18, &map.title));
    for way in &map.ways {
        let (Some(from), Some(to)) = (map.spots.get(way.from), map.spots.get(way.to)) else {
            continue;
        };
        let (from, to) = (at(from), at(to));
        let drawn = line(from, to, "#555555").set("stroke-width", 2);
        group = group.add(if way.later { drawn.set("stroke-dasharray", "5 4") } else { drawn });
        let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0 - 4.0);
        group = group.add(text(middle, "middle", 12, &way.label));
    }
    let mut labelled = Vec::new();
    // Those that take part have their names first, and all of them.
    let (parts, others): (Vec<_>, Vec<_>) = map.spots.iter().partition(|spot| spot.takes_part());
    for spot in parts.into_iter().chain(others) {
        group = group.add(draw_spot(spot, at(spot), &mut labelled));
    }
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let (at, top) = (WIDTH - 120.0, TOP + 20.0 * index as f64);
        group = group.add(mark((at, top), role.colour())).add(text(
            (at + 18.0, top + 10.0),
            "start",
            13,
            role.name(),
        ));
    }
    group
}

/// A region with its name, which is further down where another one's is in the way; that of a
/// region that takes no part is left out there. `labelled` is where names are.
fn draw_spot(spot: &Spot, (x, y): (f64, f64), labelled: &mut Vec<(f64, f64)>) -> Group {
    let (size, letters) = if spot.takes_part() { (8, 13) } else { (4, 10) };
    let colour = spot.roles.first().map_or("#cccccc", |role| role.colour());
    let dot = Circle::new().set("cx", pixel(x)).set("cy", pixel(y)).set("r", size);
    let group = Group::new().add(dot.set("fill", colour));
    let is_free = |at: f64, labelled: &[(f64, f64)]| {
        let near = |other: &(f64, f64)| {
            (other.0 - x).abs() < LABEL_WIDTH && (other.1 - at).abs() < LABEL_HEIGHT
        };
        !labelled.iter().any(near)
    };
    let mut at = y + 4.0;
    while spot.takes_part() && !is_free(at, labelled) {
        at += LABEL_HEIGHT;
    }
    if !is_free(at, labelled) {
        return group;
    }
    labelled.push((x, at));
    let roles: Vec<_> = spot.roles.iter().map(|role| role.name()).collect();
    let label = if spot.takes_part() {
        format!("{} ({})", spot.name, roles.join(", "))
    } else {
        spot.name.clone()
    };
    group.add(text((x + 10.0, at), "start", letters, &label))
}

/// All panels, one under the other.
pub(super) fn document(panels: Vec<Group>) -> String {
    let high = HEIGHT * panels.len() as f64;
    let white = Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "white");
    let document = Document::new()
        .set("viewBox", (0, 0, WIDTH as u32, high as u32))
        .set("font-family", "sans-serif")
        .add(white);
    let panels = panels.into_iter().enumerate();
    let all = panels.fold(document, |document, (index, panel)| {
        document.add(panel.set("transform", format!("translate(0 {})", index as f64 * HEIGHT)))
    });
    format!("{all}\n")
}

/// Writes panels into a file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn save(file: &Path, panels: Vec<Group>) -> Result<(), Failure> {
    std::fs::write(file, document(panels))
        .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Chart {
        Chart {
            title: "a < b & \"c\"".to_owned(),
            x: Axis { name: "x <".to_owned(), ..Axis::default() },
            y: Axis { name: "y &".to_owned(), log: true, ..Axis::default() },
            series: vec![Series {
                name: "<one>".to_owned(),
                points: vec![(0.0, 0.0), (1.0, 1.0), (2.0, 100.0)],
                labels: vec!["&amp;".to_owned()],
                apart: false,
            }],
        }
    }

    fn spots() -> MapDrawing {
        let spot = |name: &str, at, roles| Spot { name: name.to_owned(), at, roles };
        MapDrawing {
            title: "<map>".to_owned(),
            spots: vec![
                spot("a&b", [0.0, 0.0], vec![Role::Client, Role::Coordinator]),
                spot("c<d", [30.0, 40.0], vec![Role::Serves]),
                spot("e", [60.0, 0.0], vec![]),
            ],
            ways: vec![
                Way { from: 0, to: 1, label: "50 ms".to_owned(), later: false },
                Way { from: 0, to: 9, label: "nowhere".to_owned(), later: true },
            ],
        }
    }

    #[test]
    fn what_is_written_can_be_read_and_is_escaped() {
        let text = document(vec![chart(&two()), map(&spots())]);
        assert_eq!(text, document(vec![chart(&two()), map(&spots())]), "the same each time");
        let read = roxmltree::Document::parse(&text).expect("well-formed");
        let root = read.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
        let words: Vec<_> = root
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")))
            .filter_map(|node| node.text())
            .map(str::trim)
            .collect();
        for word in ["a < b & \"c\"", "<one>", "y &", "a&b (client, coordinator)", "c<d (serves)"] {
            assert!(words.contains(&word), "{word} {words:?}");
        }
        assert!(!words.contains(&"nowhere"), "{words:?}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    /// Zero has no place on a logarithmic axis; the other points keep theirs.
    #[test]
    fn points_are_where_their_numbers_say() {
        let text = document(vec![chart(&two())]);
        let read = roxmltree::Document::parse(&text).expect("well-formed");
        let path = read.descendants().find_map(|node| node.attribute("points")).expect("a line");
        let points: Vec<Vec<f64>> = path
            .split(' ')
            .map(|point| point.split(',').map(|x| x.parse().expect("a number")).collect())
            .collect();
        assert_eq!(points.len(), 2, "{path}");
        assert!(points[0][0] < points[1][0] && points[0][1] > points[1][1], "{path}");
        // From 1 to 100 it is the whole height.
        assert_eq!((points[0][1], points[1][1]), (HEIGHT - BOTTOM, TOP));
    }

    #[test]
    fn a_map_has_one_scale_in_both_directions() {
        let text = document(vec![map(&spots())]);
        let read = roxmltree::Document::parse(&text).expect("well-formed");
        let number = |node: &roxmltree::Node<'_, '_>, name| {
            node.attribute(name).expect("it is there").parse::<f64>().expect("a number")
        };
        let dots = read.descendants().filter(|node| node.has_attribute("cx"));
        let dots: Vec<_> = dots.map(|dot| (number(&dot, "cx"), number(&dot, "cy"))).collect();
        let far = |a: usize, b: usize| (dots[a].0 - dots[b].0).hypot(dots[a].1 - dots[b].1);
        assert!((far(0, 1) / far(0, 2) - 50.0 / 60.0).abs() < 0.01, "{dots:?}");
        // What is greater is further up.
        assert!(dots[1].1 < dots[0].1, "{dots:?}");
    }

    #[test]
    fn names_that_would_cover_each_other_are_moved_or_left_out() {
        let spot = |name: &str, x, roles| Spot { name: name.to_owned(), at: [x, 0.0], roles };
        let drawing = MapDrawing {
            title: String::new(),
            spots: vec![
                spot("left-out", 1.0, vec![Role::Allowed]),
                spot("first", 0.0, vec![Role::Copy]),
                spot("second", 2.0, vec![Role::Serves]),
                spot("far", 1000.0, vec![Role::Allowed]),
            ],
            ways: Vec::new(),
        };
        let text = document(vec![map(&drawing)]);
        let read = roxmltree::Document::parse(&text).expect("well-formed");
        let height = |word: &str| {
            let mut texts = read.descendants().filter(|node| node.tag_name().name() == "text");
            let found = texts.find(|node| node.text().is_some_and(|text| text.trim() == word));
            found.map(|node| node.attribute("y").expect("a place").parse::<f64>().expect("it is"))
        };
        assert_eq!((height("left-out"), height("far").is_some()), (None, true));
        let (first, second) = (height("first (copy)"), height("second (serves)"));
        assert_eq!(second.expect("it is there") - first.expect("it is there"), LABEL_HEIGHT);
    }

    #[test]
    fn nothing_and_equal_numbers_are_drawn_too() {
        for points in [vec![], vec![(3.0, 7.0)], vec![(3.0, 7.0), (3.0, 7.0)]] {
            let series = vec![Series { points, ..Series::default() }];
            let drawn = document(vec![chart(&Chart { series, ..Chart::default() })]);
            roxmltree::Document::parse(&drawn).expect("well-formed");
            assert!(!drawn.contains("NaN"), "{drawn}");
        }
    }
}
