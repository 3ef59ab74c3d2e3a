//! Pages that were not written for this test: the documentation that is installed here, and what shops and blogs look
//! like.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Documentation of this crate and its dependencies, of the system, and of Rust: at most so many bytes of each.
pub(crate) fn installed(most: usize) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for folder in [
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/doc")),
        Some(PathBuf::from("/usr/share/doc")),
        sysroot().map(|sysroot| sysroot.join("share/doc/rust/html")),
    ] {
        let Some(folder) = folder else { continue };
        let mut files = Vec::new();
        collect(&folder, &mut files);
        files.sort();
        // Some of everywhere, not all of the first folder.
        let step = (files.len() * 20_000 / most.max(1)).max(1);
        let (mut bytes, mut taken, mut not_text) = (0, 0, 0);
        for file in files.iter().step_by(step).take_while(|_| true) {
            let Ok(content) = std::fs::read(file) else { continue };
            if bytes + content.len() > most {
                continue;
            }
            match String::from_utf8(content) {
                Ok(page) => {
                    (bytes, taken) = (bytes + page.len(), taken + 1);
                    pages.push((file.display().to_string(), page));
                }
                Err(_) => not_text += 1,
            }
        }
        println!(
            "{}: {taken} of {} pages, {bytes} bytes; {not_text} skipped that are no UTF-8",
            folder.display(),
            files.len()
        );
    }
    pages
}

fn sysroot() -> Option<PathBuf> {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(out.stdout).ok()?.trim()))
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

/// The same pages each time: a generator of its own decides what stands on them.
pub(crate) fn generated() -> Vec<(String, String)> {
    (0..24).map(|seed| (format!("generated {seed}"), Shop(seed * 7 + 1).page())).collect()
}

struct Shop(u64);

impl Shop {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[(self.0 >> 33) as usize % of.len()]
    }

    fn url(&mut self) -> String {
        let origin = self.pick(&[
            "http://cdn.shop.example",
            "HTTP://img.shop.example:80",
            "http://cdn.shop.example:8080",
            "https://cdn.shop.example",
            "//cdn.shop.example",
            "http://localhost:3000",
            "http://192.0.2.7",
            "",
            "http&#58;//cdn.shop.example",
        ]);
        let path = self.pick(&["/a.jpg", "/p/4711?w=100&amp;h=80", "/über.png", "/", ""]);
        format!("{origin}{path}")
    }

    fn page(&mut self) -> String {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=de xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>Sh\u{f6}p <img src=http://x/> &mdash; {}</title>\n<link rel=\"canonical\" href=\"http://shop.example/\">\n\
             <link href='{}' rel='stylesheet' media=all>\n<link rel=\"alternate icon\" href={}>\n\
             <style>\n@import url({});\n@namespace svg url(http://www.w3.org/2000/svg);\nbody > p {{ background: url( '{}' ) }}\n\
             /* http://x/ url(http://x/) */ .a::after {{ content: \"url(http://x/)\" }}\n</style>\n\
             <script type=\"application/ld+json\">{{\"@context\": \"http://schema.org\", \"image\": \"http://x/\"}}</script>\n\
             <script src=\"{}\" async></script></head>\n<body background=\"{}\">\n",
            self.pick(&["Home", "Sale", "Blog"]),
            self.url(),
            "http://cdn.shop.example/icon",
            "http://cdn.shop.example/fonts.css",
            "http://cdn.shop.example/bg.png",
            self.url(),
            self.url(),
        );
        for _ in 0..12 {
            let part = match self
                .pick(&["product", "product", "post", "icon", "media", "form", "script", "pixel"])
            {
                "product" => format!(
                    "<div class=\"product\" style=\"background: url({}) no-repeat\"><a href=\"http://shop.example/p\"><img \
                     alt='a > b' src=\"{}\" srcset=\"{} 1x, {} 2x\" data-src=\"http://x/\"/></a></div>\n",
                    "http://cdn.shop.example/p.png",
                    self.url(),
                    "http://cdn.shop.example/1",
                    "http://cdn.shop.example/2,3",
                ),
                "post" => format!(
                    "<article><h2>Posts &amp; more</h2><p>See <a href={}>this</a>, or &lt;img src=\"http://x/\"&gt;.<p>\
                     <!-- <img src=\"http://x/\"> --><iframe src=\"{}\"><img src=http://x/></iframe></article>\n",
                    "http://x/",
                    self.url()
                ),
                "icon" => format!(
                    "<svg viewBox=\"0 0 1 1\"><title>icon</title><defs><style>path {{ fill: url(http://cdn.shop.example/f) }}\
                     </style></defs><use xlink:href=\"{}\"/><image href='{}'></image><a xlink:href=\"http://x/\"/></svg>\n",
                    self.url(),
                    self.url()
                ),
                "media" => format!(
                    "<picture><source srcset=\"{}\" media=x><img src={} ></picture><video poster='{}' src=\"{}\" controls>\
                     <track src=\"{}\"></video><object data=\"{}\"></object>\n",
                    "http://cdn.shop.example/1 100w, http://cdn.shop.example/2 200w",
                    "http://cdn.shop.example/3",
                    self.url(),
                    self.url(),
                    self.url(),
                    self.url(),
                ),
                "form" => format!(
                    "<form action=\"http://shop.example/\"><input type=image src=\"{}\"><textarea><img src=http://x/></textarea>\
                     <select><option>a<option>b</select></form>\n",
                    self.url()
                ),
                "script" => {
                    "<script>if (a < b) document.write('<img src=\"http://x/\">')</script>\n".to_owned()
                }
                _ => "<noscript><img src=\"http://pixel.shop.example/\"></noscript>\n".to_owned(),
            };
            page.push_str(&part);
        }
        page + "</body></html>\n"
    }
}
