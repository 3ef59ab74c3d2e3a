//! The pages: documentation that is installed, or what looks like it; and shops.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;

const MOST: usize = 4_000_000;

/// Many tags, little text, nothing to change.
pub(crate) fn documentation() -> Vec<Bytes> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/doc");
    let mut files = Vec::new();
    for folder in [Some(own), rust().map(|rust| rust.join("std"))].into_iter().flatten() {
        collect(&folder, &mut files);
    }
    files.sort();
    let pages = read(&files, 300_000);
    if pages.is_empty() { looks_like_documentation(400, 10_000) } else { pages }
}

/// Few and long pages.
pub(crate) fn prose() -> Vec<Bytes> {
    let books = ["reference", "book", "nomicon", "cargo", "rustc", "edition-guide"];
    let files: Vec<PathBuf> =
        rust().into_iter().flat_map(|rust| books.map(|book| rust.join(book).join("print.html"))).collect();
    let pages = read(&files, MOST);
    if pages.is_empty() { looks_like_documentation(3, 1_000_000) } else { pages }
}

/// Pages whose parts come from elsewhere, by this scheme.
pub(crate) fn shops(scheme: &str) -> Vec<Bytes> {
    (1..=MOST as u64 / 30_000).map(|seed| Bytes::from(Shop { seed, scheme }.page())).collect()
}

fn rust() -> Option<PathBuf> {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    Some(Path::new(String::from_utf8(out.stdout).ok()?.trim()).join("share/doc/rust/html"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        match (entry.file_type(), entry.path()) {
            (Ok(kind), path) if kind.is_dir() => collect(&path, files),
            (_, path) if path.extension().is_some_and(|extension| extension == "html") => files.push(path),
            _ => {}
        }
    }
}

/// Some of everywhere, no page longer than `longest`.
fn read(files: &[PathBuf], longest: usize) -> Vec<Bytes> {
    let step = (files.len() / 400).max(1);
    let mut left = MOST;
    let mut pages = Vec::new();
    for file in files.iter().step_by(step) {
        let Ok(page) = std::fs::read(file) else { continue };
        if page.len() <= longest.min(left) && std::str::from_utf8(&page).is_ok() {
            left -= page.len();
            pages.push(Bytes::from(page));
        }
    }
    pages
}

fn looks_like_documentation(pages: u64, len: usize) -> Vec<Bytes> {
    (1..=pages)
        .map(|seed| {
            let mut shop = Shop { seed, scheme: "https" };
            let mut page = String::from("<!DOCTYPE html><html lang=\"en\"><head><title>a</title></head><body>");
            while page.len() < len {
                let kind = shop.pick(&["struct", "enum", "fn", "keyword", "macro"]);
                let words = shop.words(3);
                writeln!(
                    page,
                    "<li><code class=\"{kind}\"><a href=\"../{kind}/index.html\" title=\"{kind} {words}\">{words}</a></code>\
                     <div class=\"docblock\"><p>{}</p></div></li>",
                    shop.words(12)
                )
                .unwrap();
            }
            Bytes::from(page + "</body></html>")
        })
        .collect()
}

struct Shop<'a> {
    seed: u64,
    scheme: &'a str,
}

impl Shop<'_> {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[(self.seed >> 33) as usize % of.len()]
    }

    fn words(&mut self, count: usize) -> String {
        let words = [
            "the",
            "shirt",
            "of",
            "blue",
            "cotton",
            "and",
            "leather",
            "top:",
            "shoes",
            "with",
            "a",
            "wooden",
            "handle",
            "gr\u{fc}n",
            "sizes",
            "S",
            "M",
            "&amp;",
            "output",
        ];
        (0..count).map(|_| self.pick(&words)).collect::<Vec<_>>().join(" ")
    }

    fn page(&mut self) -> String {
        let scheme = self.scheme;
        let cdn = format!("{scheme}://cdn.shop.example");
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n\
             <link rel=\"canonical\" href=\"{scheme}://shop.example/p\">\n\
             <link rel=\"stylesheet\" href=\"{cdn}/css/main.css?v=3\" media=\"all\">\n\
             <link rel=\"icon\" href=\"{cdn}/favicon.ico\">\n<script src=\"{cdn}/js/app.js\" async></script>\n<style>\n",
            self.words(4)
        );
        for number in 0..40 {
            writeln!(
                page,
                ".product-{number} > .price, .teaser-{number}:hover {{ margin: 0 auto; padding: {number}px 12px; \
                 color: #3a{number:02}ff; font: 600 14px/1.5 \"Open Sans\", sans-serif; }}"
            )
            .unwrap();
        }
        writeln!(
            page,
            "body {{ background: url({cdn}/bg.png) no-repeat; }}\n@font-face {{ src: url(\"{cdn}/f.woff2\"); }}\n</style>\n\
             <script type=\"application/ld+json\">{{\"@context\": \"{scheme}://schema.org\", \"@type\": \"Store\", \
             \"image\": \"{cdn}/x.png\"}}</script>\n</head>\n<body class=\"home page\">\n\
             <noscript><img src=\"{scheme}://pixel.example/p?1\" alt=\"\"></noscript>"
        )
        .unwrap();
        for number in 0..30 {
            let part = match self
                .pick(&["product", "product", "product", "post", "icon", "script", "comment"])
            {
                "product" => format!(
                    "<div class=\"product product-{number}\" id=\"p{number}\" data-sku=\"4711-{number}\">\n  \
                     <a class=\"product__link\" href=\"{scheme}://shop.example/p/{number}?ref=home&amp;c=1\" title=\"{}\">\n    \
                     <img class=\"lazy product__image\" width=\"320\" height=\"240\" loading=\"lazy\" alt=\"{}\" \
                     src=\"{cdn}/img/{number}.jpg\" srcset=\"{cdn}/img/{number}-2.jpg 2x, {cdn}/img/{number}-3.jpg 3x\">\n  \
                     </a>\n  <h3 class=\"product__title\">{}</h3>\n  <p class=\"product__text\">{}</p>\n  \
                     <span class=\"price\" style=\"color: #d00\">&euro; {number}.99</span>\n  \
                     <button type=\"button\" class=\"btn btn--primary\" data-add=\"{number}\" disabled>Add</button>\n</div>\n",
                    self.words(3),
                    self.words(4),
                    self.words(4),
                    self.words(75),
                ),
                "post" => format!(
                    "<article class=\"post\"><h2><a href=\"/blog/{number}\">{}</a></h2>\n<p>{}</p>\n<p>{}</p>\
                     <ul><li>{}</li><li>{}</li></ul></article>\n",
                    self.words(5),
                    self.words(120),
                    self.words(90),
                    self.words(6),
                    self.words(6),
                ),
                "icon" => format!(
                    "<svg class=\"icon\" viewBox=\"0 0 24 24\" xmlns=\"{scheme}://www.w3.org/2000/svg\"><path \
                     d=\"M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2 12 2z\"/><g fill=\"none\"><path \
                     d=\"M0 0h24v24H0z\"/></g></svg>\n"
                ),
                "script" => format!(
                    "<script>\nwindow.shop = window.shop || []; for (var i = 0; i < {number}; i++) {{ shop.push({{ id: i, \
                     url: \"{cdn}/x\" + i, name: \"{}\" }}); }}\n</script>\n",
                    self.words(8)
                ),
                _ => format!("<!-- {} <img src=\"{cdn}/old.png\"> -->\n", self.words(8)),
            };
            page.push_str(&part);
        }
        page + "</body>\n</html>\n"
    }
}
