"use strict";
// A crystal that one can turn, cut and step through. Triangles and voxels are in the page (show/view.py says how); WebGL 1, nothing else.
{
  const VERTEX = `
    attribute vec3 point, normal; attribute vec2 value;
    uniform vec3 size, origin; uniform mat3 steps, turn; uniform vec3 zoom;
    varying vec3 index, out_; varying vec2 shown;
    void main() {
      index = point * size - 1.0;
      vec3 view = turn * (steps * (index - origin));
      gl_Position = vec4(view.x * zoom.x, -view.y * zoom.y, view.z * zoom.z, 1.0);
      out_ = turn * normal; shown = value;
    }`;
  const FRAGMENT = `
    precision highp float;
    varying vec3 index, out_; varying vec2 shown;
    uniform sampler2D palette; uniform vec4 cut; uniform bool cyclic;
    void main() {
      if (dot(index, cut.xyz) > cut.w) discard;
      float at = cyclic ? atan(shown.y * 2.0 - 1.0, shown.x * 2.0 - 1.0) / 6.2831853 + 0.5 : shown.x;
      vec3 colour = !cyclic && shown.y < 0.5 ? vec3(0.6) : texture2D(palette, vec2(at * 0.99609 + 0.00195, 0.5)).rgb;
      vec3 n = normalize(out_);
      float light = 0.5 + 0.5 * max(0.0, dot(n, vec3(-0.3, -0.4, -0.87)));
      if (!gl_FrontFacing) { colour = vec3(0.55); light = 0.5 + 0.4 * max(0.0, -dot(n, vec3(-0.3, -0.4, -0.87))); }
      gl_FragColor = vec4(colour * light, 1.0);
    }`;
  const CAP_VERTEX = `
    attribute vec3 corner; attribute vec2 at;
    uniform vec3 origin; uniform mat3 steps, turn; uniform vec3 zoom;
    varying vec2 where;
    void main() {
      vec3 view = turn * (steps * (corner - origin));
      gl_Position = vec4(view.x * zoom.x, -view.y * zoom.y, view.z * zoom.z, 1.0);
      where = at;
    }`;
  const CAP_FRAGMENT = `
    precision mediump float;
    varying vec2 where; uniform sampler2D slice; uniform float level;
    void main() { vec4 c = texture2D(slice, where); if (c.a < level) discard; gl_FragColor = vec4(c.rgb, 1.0); }`;

  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const OUTSIDE = [217, 217, 217];

  function view(root) {
    const data = JSON.parse(root.querySelector(".numbers").textContent), $ = s => root.querySelector(s);
    const canvas = $(".crystal"), shape = data.shape, figure = root.closest("figure");
    for (const f of data.fields) { f.palette = bytes(f.palette); f.surface = bytes(f.surface); f.volume = bytes(f.volume); }
    const magnitude = bytes(data.magnitude), stride = data.stride;
    const mirror = data.mirror, steps = data.steps.map(row => row.map((v, k) => v * mirror[k])); // steps[a]: the step along axis a
    const gl = canvas.getContext("webgl", { antialias: false, alpha: true, powerPreference: "low-power" });
    const points = bytes(data.points), faces = new Uint16Array(bytes(data.faces).buffer);
    const state = { turn: null, zoom: 1, field: 0, cut: -1, depth: 0, dirty: false, fine: true };
    const flat = m => [0, 1, 2].flatMap(k => m.map(row => row[k])); // WebGL takes columns
    const unmasked = gl && gl.getExtension("WEBGL_debug_renderer_info");
    const software = unmasked && /swiftshader|llvmpipe|software/i.test(gl.getParameter(unmasked.UNMASKED_RENDERER_WEBGL));
    let frames = 0, slow = software ? 5 : 0, rest = 0, lengths = "";

    function reset() {
      const turn = data.turn.map(row => row.slice());
      Object.assign(state, { turn, zoom: 1, cut: -1 });
      $("select.cut").value = "";
      $("input.depth").disabled = true;
    }

    // ---- colours

    function colour(f, v) { // 0: not known
      if (v === 0) return OUTSIDE;
      const i = 3 * Math.round((v - 1) * 255 / 254);
      return [f.palette[i], f.palette[i + 1], f.palette[i + 2]];
    }

    function slicePixels(axis, at, field, masked) {
      const [r, c] = [0, 1, 2].filter(a => a !== axis), out = new Uint8ClampedArray(4 * shape[r] * shape[c]);
      const strides = [shape[1] * shape[2], shape[2], 1], f = data.fields[field];
      for (let i = 0, k = 0; i < shape[r]; i++) for (let j = 0; j < shape[c]; j++, k += 4) {
        const voxel = at * strides[axis] + i * strides[r] + j * strides[c];
        const rgb = f ? colour(f, f.volume[voxel]) : [magnitude[voxel], magnitude[voxel], magnitude[voxel]];
        out[k] = rgb[0]; out[k + 1] = rgb[1]; out[k + 2] = rgb[2];
        out[k + 3] = masked ? magnitude[voxel] : 255;
      }
      return { pixels: out, rows: shape[r], columns: shape[c], r, c };
    }

    function legend() {
      const f = data.fields[state.field], bar = $(".bar"), pen = bar.getContext("2d"), row = pen.createImageData(256, 1);
      for (let i = 0; i < 256; i++) row.data.set([f.palette[3 * i], f.palette[3 * i + 1], f.palette[3 * i + 2], 255], 4 * i);
      pen.putImageData(row, 0, 0);
      $(".low").textContent = f.low;
      $(".high").textContent = f.high;
    }

    // ---- slices

    const panels = [...root.querySelectorAll(".slices > div")];
    panels.forEach((panel, axis) => {
      const input = panel.querySelector("input");
      Object.assign(input, { min: 0, max: shape[axis] - 1, step: 1, value: Math.min(shape[axis] - 1, data.middle[axis]) });
      input.addEventListener("input", () => drawSlice(axis));
    });

    function drawSlice(axis) {
      const panel = panels[axis], target = panel.querySelector("canvas"), at = Number(panel.querySelector("input").value);
      const field = Number($("select.shown").value), s = slicePixels(axis, at, field, false), pen = target.getContext("2d");
      const length = a => Math.hypot(...steps[a]), names = data.names;
      const left = mirror[2 - s.c] < 0, up = data.upright !== (mirror[2 - s.r] < 0);
      target.width = s.columns; target.height = s.rows;
      const image = pen.createImageData(s.columns, s.rows);
      for (let i = 0; i < s.rows; i++) for (let j = 0; j < s.columns; j++) {
        const from = 4 * (i * s.columns + j), to = 4 * ((up ? s.rows - 1 - i : i) * s.columns + (left ? s.columns - 1 - j : j));
        for (let k = 0; k < 4; k++) image.data[to + k] = s.pixels[from + k];
      }
      pen.putImageData(image, 0, 0);
      const ratio = (s.columns * length(s.c)) / (s.rows * length(s.r));
      target.style.aspectRatio = ratio;
      target.style.width = `min(100%, ${16 * ratio}rem)`;
      const place = data.first[axis] + at * stride;
      const text = `${names[axis]} = ${place}: ${left ? "← " + names[s.c] : names[s.c] + " →"}, ${names[s.r]} ${up ? "↑" : "↓"}`;
      panel.querySelector("span").textContent = text;
      target.setAttribute("aria-label", `slice ${text}`);
    }

    $("select.shown").addEventListener("change", () => panels.forEach((_, axis) => drawSlice(axis)));

    // ---- the surface

    function program(vertex, fragment) {
      const p = gl.createProgram();
      for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
        gl.attachShader(p, shader);
      }
      gl.linkProgram(p);
      return p;
    }

    function buffer(kind, values) {
      const b = gl.createBuffer();
      gl.bindBuffer(kind, b);
      gl.bufferData(kind, values, gl.STATIC_DRAW);
      return b;
    }

    function texture(width, height, format, pixels, filter) {
      const t = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, t);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, format, gl.UNSIGNED_BYTE, pixels);
      for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, key, filter);
      for (const key of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, key, gl.CLAMP_TO_EDGE);
      return t;
    }

    function attribute(p, name, b, count, kind, normalised) {
      const at = gl.getAttribLocation(p, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, b);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, count, kind, normalised, 0, 0);
    }

    let solid, cap, buffers, shownTexture, slice;

    function load() {
      solid = program(VERTEX, FRAGMENT);
      cap = program(CAP_VERTEX, CAP_FRAGMENT);
      const normals = new Int8Array(bytes(data.normals).buffer);
      const lie = new Float32Array(normals.length);
      for (let i = 0; i < lie.length; i++) lie[i] = normals[i] * mirror[i % 3];
      buffers = {
        points: buffer(gl.ARRAY_BUFFER, points),
        normals: buffer(gl.ARRAY_BUFFER, lie),
        faces: buffer(gl.ELEMENT_ARRAY_BUFFER, faces),
        corners: gl.createBuffer(),
        corner: buffer(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1])),
        values: gl.createBuffer(),
      };
      gl.enable(gl.DEPTH_TEST);
      gl.clearColor(0, 0, 0, 0);
      gl.frontFace(mirror[0] * mirror[1] * mirror[2] > 0 ? gl.CCW : gl.CW);
      choose();
    }

    function choose() { // the quantity whose colours are shown
      const f = data.fields[state.field], values = new Uint8Array(2 * f.surface.length);
      f.surface.forEach((v, i) => {
        const at = (v - 1) / 254, angle = 2 * Math.PI * (at - 0.5);
        values[2 * i] = f.cyclic ? 127.5 * (1 + Math.cos(angle)) : 255 * Math.max(0, at);
        values[2 * i + 1] = f.cyclic ? 127.5 * (1 + Math.sin(angle)) : v ? 255 : 0;
      });
      legend();
      if (!gl) return;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.values);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      if (shownTexture) gl.deleteTexture(shownTexture);
      shownTexture = texture(256, 1, gl.RGB, f.palette, gl.LINEAR);
      carve();
    }

    function carve() { // the slice that lies open where the crystal is cut
      if (!gl || state.cut < 0) return;
      const s = slicePixels(state.cut, state.depth, state.field, true);
      if (slice) gl.deleteTexture(slice);
      slice = texture(s.columns, s.rows, gl.RGBA, new Uint8Array(s.pixels.buffer), gl.LINEAR);
      const corners = [];
      for (const [i, j] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const corner = [0, 0, 0];
        corner[state.cut] = state.depth * stride;
        corner[s.r] = (i * s.rows - 0.5) * stride;
        corner[s.c] = (j * s.columns - 0.5) * stride;
        corners.push(...corner);
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.corners);
      gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners), gl.STATIC_DRAW);
    }

    function place(p, width, height) {
      const side = Math.min(width, height), z = state.zoom / data.radius;
      gl.useProgram(p);
      gl.uniform3fv(gl.getUniformLocation(p, "origin"), data.origin);
      gl.uniformMatrix3fv(gl.getUniformLocation(p, "steps"), false, steps.flat()); // row a is what index a is multiplied with: a column
      gl.uniformMatrix3fv(gl.getUniformLocation(p, "turn"), false, flat(state.turn));
      gl.uniform3f(gl.getUniformLocation(p, "zoom"), z * side / width, z * side / height, 0.5 / data.radius);
    }

    function draw() {
      const scale = state.fine ? Math.min(2, 2400 / canvas.clientWidth) : slow > 0 ? 0.45 : 1; // twice as fine at rest: smooth edges
      const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      gl.viewport(0, 0, width, height);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      place(solid, width, height);
      gl.uniform3f(gl.getUniformLocation(solid, "size"), ...data.size);
      gl.uniform1i(gl.getUniformLocation(solid, "cyclic"), data.fields[state.field].cyclic);
      const cut = [0, 0, 0, 1e9];
      if (state.cut >= 0) { // what is cut away is the side that the eye is on
        const away = [0, 1, 2].reduce((sum, k) => sum + state.turn[2][k] * steps[state.cut][k], 0), sign = away > 0 ? -1 : 1;
        cut[state.cut] = sign;
        cut[3] = sign * state.depth * stride;
      }
      gl.uniform4f(gl.getUniformLocation(solid, "cut"), ...cut);
      attribute(solid, "point", buffers.points, 3, gl.UNSIGNED_SHORT, true);
      attribute(solid, "normal", buffers.normals, 3, gl.FLOAT, false);
      attribute(solid, "value", buffers.values, 2, gl.UNSIGNED_BYTE, true);
      gl.bindTexture(gl.TEXTURE_2D, shownTexture);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.faces);
      gl.drawElements(gl.TRIANGLES, faces.length, gl.UNSIGNED_SHORT, 0);
      if (state.cut >= 0) {
        place(cap, width, height);
        gl.uniform1f(gl.getUniformLocation(cap, "level"), data.level / 255);
        attribute(cap, "corner", buffers.corners, 3, gl.FLOAT, false);
        attribute(cap, "at", buffers.corner, 2, gl.FLOAT, false);
        gl.bindTexture(gl.TEXTURE_2D, slice);
        gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      }
      measure();
      canvas.dataset.frames = ++frames;
      canvas.dataset.settled = state.fine && !state.dirty;
    }

    function measure() { // where the axes point, and how long a length is
      root.querySelectorAll(".triad g").forEach((g, k) => {
        const [x, y] = [state.turn[0][k] * mirror[k], state.turn[1][k] * mirror[k]], line = g.querySelector("line"), text = g.querySelector("text");
        for (const [name, v] of [["x2", 30 * x], ["y2", 30 * y]]) line.setAttribute(name, v.toFixed(1));
        text.setAttribute("x", (41 * x).toFixed(1));
        text.setAttribute("y", (41 * y).toFixed(1));
      });
      const pixels = Math.min(canvas.clientWidth, canvas.clientHeight) * state.zoom / (2 * data.radius); // for each nm or pixel of the object
      if (lengths === (lengths = String(pixels))) return;
      const most = 90 / pixels, power = 10 ** Math.floor(Math.log10(most)), length = [5, 2, 1].find(m => m * power <= most) * power;
      $(".length i").style.width = `${length * pixels}px`;
      $(".length span").textContent = `${Number(length.toPrecision(1))} ${data.unit}`;
    }

    function wanted(moving) {
      if (!gl) return;
      state.fine = !moving;
      canvas.dataset.settled = false;
      clearTimeout(rest);
      if (moving) rest = setTimeout(() => wanted(false), 250);
      if (state.dirty) return;
      state.dirty = true;
      requestAnimationFrame(begin => {
        state.dirty = false;
        draw();
        if (moving) requestAnimationFrame(end => { slow = Math.max(-5, Math.min(5, slow + (end - begin > 30 ? 1 : -1))); });
      });
    }

    // ---- hands

    function turn(dx, dy) { // radians about the upright and the level axis of the screen
      const [c, s, d, e] = [Math.cos(dx), Math.sin(dx), Math.cos(dy), Math.sin(dy)];
      const [x, y, z] = state.turn;
      const a = x.map((v, k) => c * v - s * z[k]), b = x.map((v, k) => s * v + c * z[k]);
      state.turn = [a, y.map((v, k) => d * v - e * b[k]), y.map((v, k) => e * v + d * b[k])];
      wanted(true);
    }

    function enlarge(by) {
      state.zoom = Math.min(20, Math.max(0.3, state.zoom * by));
      wanted(true);
    }

    const pointers = new Map();
    canvas.addEventListener("pointerdown", e => { canvas.setPointerCapture(e.pointerId); pointers.set(e.pointerId, [e.clientX, e.clientY]); canvas.focus(); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, e => pointers.delete(e.pointerId));
    canvas.addEventListener("pointermove", e => {
      const before = pointers.get(e.pointerId);
      if (!before) return;
      const others = [...pointers].filter(([id]) => id !== e.pointerId).map(([, at]) => at);
      if (others.length) {
        const gap = at => Math.max(1, Math.hypot(at[0] - others[0][0], at[1] - others[0][1]));
        enlarge(gap([e.clientX, e.clientY]) / gap(before));
      } else turn((e.clientX - before[0]) * 0.01, (e.clientY - before[1]) * 0.01);
      pointers.set(e.pointerId, [e.clientX, e.clientY]);
    });
    canvas.addEventListener("wheel", e => { // a page that is scrolled past the crystal scrolls on
      if (document.activeElement !== canvas && !e.ctrlKey) return;
      e.preventDefault();
      enlarge(Math.exp(-0.0015 * e.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", e => {
      const keys = {
        ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
        "+": () => enlarge(1.15), "=": () => enlarge(1.15), "-": () => enlarge(1 / 1.15), 0: () => { reset(); wanted(false); },
      };
      if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      keys[e.key]();
    });
    $(".reset").addEventListener("click", () => { reset(); wanted(false); });
    $(".quantity").addEventListener("change", e => { state.field = Number(e.target.value); choose(); wanted(false); });
    $("select.cut").addEventListener("change", e => {
      const input = $("input.depth");
      state.cut = e.target.value === "" ? -1 : Number(e.target.value);
      input.disabled = state.cut < 0;
      if (state.cut >= 0) {
        state.depth = data.middle[state.cut];
        Object.assign(input, { min: 0, max: shape[state.cut] - 1, step: 1, value: state.depth });
      }
      carve();
      wanted(false);
    });
    $("input.depth").addEventListener("input", e => { state.depth = Number(e.target.value); carve(); wanted(true); });
    canvas.addEventListener("webglcontextlost", e => { e.preventDefault(); root.hidden = true; figure.classList.remove("live"); });
    canvas.addEventListener("webglcontextrestored", () => { load(); open(); });

    function open() {
      root.hidden = false;
      figure.querySelector(".hint").hidden = !gl;
      $(".stage").hidden = $(".controls").hidden = !gl;
      if (gl) {
        figure.classList.add("live");
        draw();
      }
      panels.forEach((_, axis) => drawSlice(axis));
      root.dataset.state = gl ? "ready" : "slices";
      root.dataset.first = performance.now().toFixed(0);
    }

    reset();
    if (gl) load();
    open();
    if (gl) new ResizeObserver(() => wanted(false)).observe(canvas);
  }

  for (const root of document.querySelectorAll(".view")) {
    try {
      view(root);
    } catch (error) { // the painted figure stays
      root.hidden = true;
      root.dataset.state = "failed";
      root.dataset.error = error.message;
      root.closest("figure").classList.remove("live");
    }
  }
}
