//! Where panels stand.
//!
//! In: headings and panels in reading order. Out: the same with ids and positions, so that none covers another.
//! Left out on purpose: repeats and collapsed rows; what is hidden is not seen at night.

use crate::model::{GridPos, Item, Panel, Row};

/// Grafana's grid is this wide.
const WIDTH: u32 = 24;

/// Fills the grid from left to right, and from top to bottom.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    items: Vec<Item>,
    x: u32,
    y: u32,
    /// Height of the line that is being filled.
    line: u32,
}

impl Layout {
    /// A heading over what follows.
    pub(crate) fn row(&mut self, title: &'static str) {
        self.end_line();
        let grid_pos = GridPos {
            h: 1,
            w: WIDTH,
            x: 0,
            y: self.y,
        };
        self.items.push(Item::Row(Row {
            id: self.next_id(),
            kind: "row",
            title,
            collapsed: false,
            grid_pos,
            panels: [],
        }));
        self.y += 1;
    }

    /// A panel beside the one before, or on the next line where it does not fit.
    pub(crate) fn panel(&mut self, w: u32, h: u32, mut panel: Panel) {
        if self.x + w > WIDTH {
            self.end_line();
        }
        panel.id = self.next_id();
        panel.grid_pos = GridPos {
            h,
            w,
            x: self.x,
            y: self.y,
        };
        self.x += w;
        self.line = self.line.max(h);
        self.items.push(Item::Panel(Box::new(panel)));
    }

    /// A panel over the whole width, with the height that it asks for.
    pub(crate) fn text(&mut self, (h, panel): (u32, Panel)) {
        self.panel(WIDTH, h, panel);
    }

    pub(crate) fn into_items(self) -> Vec<Item> {
        self.items
    }

    fn end_line(&mut self) {
        self.y += self.line;
        (self.x, self.line) = (0, 0);
    }

    fn next_id(&self) -> u32 {
        self.items.len() as u32 + 1
    }
}
