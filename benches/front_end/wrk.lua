-- What a browser sends, with one cookie of the list after the other.
local requests, last = {}, 0

function init()
    for pin in io.lines(os.getenv("COOKIES")) do
        requests[#requests + 1] = wrk.format(nil, nil, {
            ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ["Accept-Language"] = "en-GB,en;q=0.5",
            ["Accept-Encoding"] = "gzip, deflate, br",
            ["Cookie"] = "csrftoken=9Nq3cXKm7yWzBvT1; sessionid=k2v9x7f4m8p1; " .. pin,
            ["Host"] = "shop.example",
        })
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end
