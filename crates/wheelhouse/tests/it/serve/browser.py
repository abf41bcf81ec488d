"""Walks through the pages of a server in headless Chromium: `browser.py WALK URL SCREENSHOTS`.

A walk that finds a difference ends with an assertion. The console and the requests of each are checked at its end.
"""

import json
import shutil
import sys
import time
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

WALK, URL, SCREENSHOTS = sys.argv[1:]

# Of all visible texts, those with less contrast than WCAG 2 demands (AA).
LOW_CONTRAST = """
const parse = (color) => {
  const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
};
const over = (top, bottom) => [0, 1, 2].map((i) => top[i] * top[3] + bottom[i] * (1 - top[3])).concat(1);
const background = (element) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) layers.push(parse(getComputedStyle(each).backgroundColor));
  const canvas = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
  return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
};
const luminance = (color) => {
  const [r, g, b] = color.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  if (!walker.currentNode.data.trim() || box.width < 2 || box.height < 2 || style.visibility === 'hidden') continue;
  // The area behind text of a drawing is not that of its parent.
  if (element.closest('svg')) continue;
  const below = background(element);
  const [light, dark] = [luminance(over(parse(style.color), below)), luminance(below)].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  const size = parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  if (ratio < needed - 0.01) found.push(`${element.tagName}.${element.className}: ${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 40)}`);
}
return found;
"""


def start(javascript=True, arguments=()):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900", *arguments):
        options.add_argument(argument)
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def press(driver, *keys):
    webdriver.ActionChains(driver).send_keys(*keys).perform()


def until(driver, what, condition):
    WebDriverWait(driver, 10).until(lambda _: condition(), what)


def focused(driver):
    return driver.switch_to.active_element


def visible_rows(driver):
    links = driver.find_elements(By.CSS_SELECTOR, "#packages tbody th a")
    return [link.text for link in links if link.is_displayed()]


def screenshot(driver, name):
    driver.save_screenshot(f"{SCREENSHOTS}/{name}.png")


def pages(driver):
    """Returns the URLs of the home page, of each package and of each wheelhouse."""
    driver.get(URL)
    links = driver.find_elements(By.CSS_SELECTOR, "#packages tbody th a, header nav a")
    return list(dict.fromkeys([URL, *(link.get_attribute("href") for link in links)]))


def keyboard(driver):
    driver.get(URL)
    press(driver, Keys.TAB)
    assert focused(driver).get_attribute("href").endswith("#main"), "the first stop skips the navigation"
    press(driver, Keys.ENTER)
    assert focused(driver).tag_name == "main"
    press(driver, "/")
    assert focused(driver).get_attribute("id") == "search", "`/` leads to the search"
    for page in pages(driver):
        driver.get(page)
        script = """
            return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
              .filter((element) => element.checkVisibility({visibilityProperty: true})).length;
        """
        expected = driver.execute_script(script)
        seen = set()
        for _ in range(expected + 5):
            press(driver, Keys.TAB)
            element = focused(driver)
            if element.tag_name == "body" or element.id in seen:
                break
            seen.add(element.id)
            state = "const style = getComputedStyle(arguments[0]); const box = arguments[0].getBoundingClientRect();" \
                "return [style.outlineStyle, style.outlineWidth, style.boxShadow, box.width, box.height];"
            outline, width, shadow, *box = driver.execute_script(state, element)
            assert (outline != "none" and width != "0px") or shadow != "none", f"{page}: the focus of {element.text!r} cannot be seen"
            assert min(box) > 0, f"{page}: {element.get_attribute('outerHTML')[:200]} has no size when it has the focus"
        assert len(seen) >= expected, f"{page}: {len(seen)} of {expected} elements are reached"
    # From the search to a package, and from there to one that requires it.
    driver.get(URL)
    press(driver, "/", "beta")
    until(driver, "one row", lambda: visible_rows(driver) == ["beta-lib"])
    for _ in range(20):
        press(driver, Keys.TAB)
        if "/package/beta-lib/" in (focused(driver).get_attribute("href") or ""):
            break
    press(driver, Keys.ENTER)
    until(driver, "the page of beta-lib", lambda: driver.current_url.endswith("/package/beta-lib/"))
    required_by = driver.find_element(By.CSS_SELECTOR, ".side.in a")
    assert required_by.text == "alpha"
    required_by.send_keys(Keys.ENTER)
    until(driver, "the page of alpha", lambda: driver.current_url.endswith("/package/alpha/"))
    screenshot(driver, "package")


def search(driver):
    driver.get(URL)
    everything = visible_rows(driver)
    assert len(everything) >= 3
    field = driver.find_element(By.ID, "search")
    count = driver.find_element(By.ID, "package-count")
    shown = count.text
    for text, expected in (("b", None), ("beta", ["beta-lib"]), ("BETA_LIB", ["beta-lib"]), ("second letter", ["beta-lib"])):
        field.clear()
        field.send_keys(text)
        if expected:
            until(driver, text, lambda: visible_rows(driver) == expected)
            assert count.text.startswith("1 of "), count.text
    field.clear()
    field.send_keys("no such package <b>")
    until(driver, "no match", lambda: driver.find_element(By.ID, "no-match").is_displayed())
    screenshot(driver, "no-match")
    field.send_keys(Keys.ESCAPE)
    until(driver, "all rows", lambda: visible_rows(driver) == everything)
    assert count.text == shown
    # Columns can be sorted.
    size = driver.find_element(By.CSS_SELECTOR, "th[data-sort=size] button")
    size.click()
    assert visible_rows(driver)[0] == "beta-lib", visible_rows(driver)
    size.click()
    assert visible_rows(driver)[-1] == "beta-lib"
    screenshot(driver, "home")


def copy(driver):
    # One context is secure, the other is not.
    for origin in (URL, URL.replace("127.0.0.1", "wheels.example")):
        parts = urlsplit(origin)
        if origin == URL:
            driver.execute_cdp_cmd("Browser.grantPermissions", {
                "origin": f"{parts.scheme}://{parts.netloc}", "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
        driver.get(f"{origin}package/alpha/")
        is_secure = driver.execute_script("return window.isSecureContext")
        assert is_secure == ("127.0.0.1" in origin)
        buttons = driver.find_elements(By.CSS_SELECTOR, "button[data-copy]")
        assert len(buttons) >= 5, "pip, uv, Dockerfile, .s2i/environment and a digest"
        for button in buttons:
            code = button.find_element(By.XPATH, "./ancestor::*[contains(@class, 'copyable')][1]//code")
            expected = code.get_attribute("textContent")
            button.send_keys(Keys.ENTER)
            until(driver, "the answer of the button", lambda: button.text == "Copied")
            driver.execute_script("""
                const area = document.createElement('textarea');
                area.id = 'paste-here';
                document.body.append(area);
                area.focus();
            """)
            area = driver.find_element(By.ID, "paste-here")
            area.send_keys(Keys.CONTROL, "v")
            until(driver, expected, lambda: area.get_property("value") == expected)
            driver.execute_script("arguments[0].remove()", area)
            if "pip install" in expected and "docker" not in expected.lower():
                assert parts.netloc in expected, f"{expected} does not name this server"


def quiet(driver):
    """Visits every page; the console and the requests are checked afterwards."""
    for page in pages(driver):
        driver.get(page)
        assert driver.find_elements(By.TAG_NAME, "h1"), page
        assert driver.execute_script("return window.hacked") is None, page
        # Links of drawings have another type of attribute.
        script = "return [...document.querySelectorAll('a')].map((a) => new URL(a.getAttribute('href'), document.baseURI).href)"
        for link in driver.execute_script(script):
            assert urlsplit(link).scheme in ("http", "https"), f"{page}: {link}"
        labels = """
            return [...document.querySelectorAll('a, button, input, summary')].filter((element) =>
              !(element.textContent.trim() || element.ariaLabel || element.title || element.labels?.length)).map((element) => element.outerHTML);
        """
        assert driver.execute_script(labels) == [], page
        assert driver.execute_script("return document.documentElement.lang") == "en"


def plain(driver):
    """Reads without JavaScript."""
    driver.get(URL)
    assert "beta-lib" in visible_rows(driver)
    for page in pages(driver):
        driver.get(page)
        assert driver.find_element(By.TAG_NAME, "h1").is_displayed()
    driver.get(f"{URL}package/alpha/")
    text = driver.find_element(By.TAG_NAME, "main").text
    for expected in ("alpha-1.0-py3-none-any.whl", "beta-lib", "SHA-256", "pip install"):
        assert expected in text, f"{expected!r} is not in {text!r}"
    buttons = driver.find_elements(By.CSS_SELECTOR, "button")
    assert not any(button.is_displayed() for button in buttons), "buttons do nothing without JavaScript"
    screenshot(driver, "plain")


def appearance(driver):
    for scheme in ("light", "dark"):
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for width, height in ((1280, 900), (360, 740)):
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
            for number, page in enumerate(pages(driver)):
                driver.get(page)
                driver.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
                widths = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
                assert widths[0] <= widths[1], f"{page}: {widths} at {width}: scrolls sideways"
                assert (low := driver.execute_script(LOW_CONTRAST)) == [], f"{page}, {scheme}: {low}"
                screenshot(driver, f"{scheme}-{width}-{number}")
            lightness = driver.execute_script("return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor")
            print(scheme, lightness)


def report(driver):
    driver.get(URL)
    assert driver.find_element(By.TAG_NAME, "h1").is_displayed()
    assert driver.execute_script("return window.hacked") is None
    driver.find_element(By.ID, "search").send_keys("beta")
    until(driver, "one row", lambda: visible_rows(driver) == ["beta-lib"])
    screenshot(driver, "report")


def large(driver):
    """A home page with thousands of packages is ready soon, and its search follows the keys."""
    begun = time.monotonic()
    driver.get(URL)
    rows = driver.execute_script("return document.querySelectorAll('#packages tbody tr').length")
    assert rows >= 5000, rows
    elapsed = time.monotonic() - begun
    assert elapsed < 15, f"{elapsed:.1f} s until the page is ready"
    field = driver.find_element(By.ID, "search")
    begun = time.monotonic()
    field.send_keys("package-4321")
    script = "return [...document.querySelectorAll('#packages tbody tr')].filter((row) => !row.hidden).length"
    until(driver, "one row", lambda: driver.execute_script(script) == 1)
    assert time.monotonic() - begun < 5
    screenshot(driver, "large")


def check_console(driver):
    messages = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert messages == [], messages
    allowed = {urlsplit(URL).netloc, urlsplit(URL).netloc.replace("127.0.0.1", "wheels.example")}
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
            assert url.scheme in ("data", "chrome", "file", "about") or url.netloc in allowed, url


def main():
    walk = globals()[WALK]
    driver = start(WALK != "plain", ["--host-resolver-rules=MAP wheels.example 127.0.0.1"])
    try:
        walk(driver)
        check_console(driver)
    except BaseException:
        screenshot(driver, "failed")
        raise
    finally:
        driver.quit()


main()
