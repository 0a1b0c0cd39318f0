//! Prints the generated section of `docs/patterns.md`: every table as a diagram and as a list.

use dtx_core::pattern::{table::Table, tables};

fn title(table: &Table<'_>) -> String {
    match table.name {
        "3ps" => "`3ps` with `Gate::AllValidated`".to_owned(),
        "3ps-independent" => "`3ps` with `Gate::Independent`".to_owned(),
        name => format!("`{name}`"),
    }
}

fn main() {
    println!("A diagram shows the moves; the list below it also has what happens without one.");
    println!("A row reads: in this state, on this, when this holds, go there and do that. Rows");
    println!("are tried from the top.");
    for table in tables::ALL {
        println!("\n### {}\n", title(table));
        println!("```mermaid\n{}\n```\n", table.to_mermaid());
        println!("{}", table.to_markdown());
    }
}
