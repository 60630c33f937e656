// Notes the memory of the WebAssembly instance that is made last. It has to be imported before the Worker, which makes
// its instance while it is imported.
let memory;

const Instance = WebAssembly.Instance;
WebAssembly.Instance = new Proxy(Instance, {
  construct(target, values) {
    const instance = new target(...values);
    memory = instance.exports.memory;
    return instance;
  },
});

/// The most bytes that the instance had at once: WebAssembly's memory never shrinks.
export const memoryBytes = () => memory.buffer.byteLength;
