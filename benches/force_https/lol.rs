//! lol_html with the same targets.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use bytes::Bytes;
use lol_html::html_content::{ContentType, Element};
use lol_html::{HtmlRewriter, Settings, element, text};
use regex::{Captures, Regex};

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Rewrites a page that arrives in chunks, and throws it away.
pub(crate) fn rewrite(chunks: &[Bytes]) {
    let mut rewriter = HtmlRewriter::new(settings(|_, _| {}), |out: &[u8]| {
        black_box(out);
    });
    chunks.iter().for_each(|chunk| rewriter.write(chunk).unwrap());
    rewriter.end().unwrap();
}

/// Element and attribute of each URL that is rewritten.
pub(crate) fn found(page: &Bytes) -> Vec<String> {
    let found = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&found);
    let tell = move |element: &str, attribute: &str| told.borrow_mut().push(format!("{element} {attribute}"));
    let mut rewriter = HtmlRewriter::new(settings(tell), |_: &[u8]| {});
    rewriter.write(page).unwrap();
    rewriter.end().unwrap();
    found.take()
}

fn settings(tell: impl Fn(&str, &str) + Clone + 'static) -> Settings<'static, 'static> {
    let url = {
        let tell = tell.clone();
        move |element: &mut Element<'_, '_>, names: &[&str]| -> Done {
            for name in names {
                let Some(upgraded) = element.get_attribute(name).and_then(|value| upgraded(&value)) else {
                    continue;
                };
                tell(&element.tag_name(), name);
                element.set_attribute(name, &upgraded)?;
            }
            Ok(())
        }
    };
    let list = {
        let tell = tell.clone();
        move |element: &mut Element<'_, '_>, name: &str| -> Done {
            let Some(value) = element.get_attribute(name) else { return Ok(()) };
            let mut changed = false;
            let candidates = value.split(", ").map(|candidate| match upgraded(candidate) {
                Some(upgraded) => {
                    tell(&element.tag_name(), name);
                    changed = true;
                    upgraded
                }
                None => candidate.to_owned(),
            });
            let value = candidates.collect::<Vec<_>>().join(", ");
            if changed {
                element.set_attribute(name, &value)?;
            }
            Ok(())
        }
    };
    let css = {
        move |sheet: &str, element: &str, attribute: &str| {
            thread_local! {
                static URL: Regex =
                    Regex::new(r#"(?i)(url\(\s*["']?|@import\s+["'])http://"#).unwrap();
            }
            URL.with(|url| {
                url.replace_all(sheet, |captures: &Captures<'_>| {
                    tell(element, attribute);
                    format!("{}https://", &captures[1])
                })
                .into_owned()
            })
        }
    };
    let is_fetched = |element: &Element<'_, '_>| {
        let rel = element.get_attribute("rel").unwrap_or_default().to_ascii_lowercase();
        rel.split_ascii_whitespace().any(|word| {
            matches!(word, "stylesheet" | "icon" | "apple-touch-icon" | "manifest" | "mask-icon")
                || matches!(word, "modulepreload" | "preconnect" | "prefetch" | "preload" | "dns-prefetch")
        })
    };
    let (url_1, url_2, url_3, url_4, url_5, url_6) =
        (url.clone(), url.clone(), url.clone(), url.clone(), url.clone(), url);
    let (list_1, list_2) = (list.clone(), list);
    let css_1 = css.clone();
    let sheet = RefCell::new(String::new());
    Settings::new()
        .with_strict(false)
        .append_element_content_handler(element!(
            "img[src], script[src], iframe[src], frame[src], embed[src], input[src], source[src], video[src], \
             audio[src], track[src]",
            move |element| url_1(element, &["src"])
        ))
        .append_element_content_handler(element!("img[srcset], source[srcset]", move |element| list_1(
            element, "srcset"
        )))
        .append_element_content_handler(element!("video[poster]", move |element| url_2(element, &["poster"])))
        .append_element_content_handler(element!("object[data]", move |element| url_3(element, &["data"])))
        .append_element_content_handler(element!(
            "body[background], table[background], thead[background], tbody[background], tfoot[background], \
             tr[background], td[background], th[background]",
            move |element| url_4(element, &["background"])
        ))
        .append_element_content_handler(element!("link[href]", move |element| {
            if is_fetched(element) { url_5(element, &["href"]) } else { Ok(()) }
        }))
        .append_element_content_handler(element!("link[imagesrcset]", move |element| {
            if is_fetched(element) { list_2(element, "imagesrcset") } else { Ok(()) }
        }))
        .append_element_content_handler(element!("image, feimage, use, svg script", move |element| url_6(
            element,
            &["href", "xlink:href"]
        )))
        .append_element_content_handler(element!("[style]", move |element| {
            let value = element.get_attribute("style").unwrap_or_default();
            let upgraded = css_1(&value, &element.tag_name(), "style");
            if upgraded != value {
                element.set_attribute("style", &upgraded)?;
            }
            Ok(())
        }))
        .append_element_content_handler(text!("style", move |text| {
            let mut sheet = sheet.borrow_mut();
            sheet.push_str(text.as_str());
            if text.last_in_text_node() {
                text.replace(&css(&sheet, "style", ""), ContentType::Html);
                sheet.clear();
            } else {
                text.remove();
            }
            Ok(())
        }))
}

fn upgraded(url: &str) -> Option<String> {
    let url = url.trim_start();
    let is_http = url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
    is_http.then(|| format!("https{}", &url[4..]))
}
